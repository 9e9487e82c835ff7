// pjsua2 with what it lacks: the door of pjsua2_gate.hpp, and the tap of pjsua2_tap.hpp. What build-pjsua2 wraps.
%module(directors="1") pjsua2
%{
#include "pjsua2_gate.hpp"
#include "pjsua2_tap.hpp"
%}
%include "pjsua2.i"
%feature("director") pj::RequestGate;
%feature("director") pj::MessageTap;
%include "pjsua2_gate.hpp"
%include "pjsua2_tap.hpp"
