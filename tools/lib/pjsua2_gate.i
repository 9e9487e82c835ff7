// pjsua2 with what it lacks: the door of pjsua2_gate.hpp, the tap of pjsua2_tap.hpp, and the names of
// pjsua2_names.hpp. What build-pjsua2 wraps.
%module(directors="1") pjsua2
%{
#include "pjsua2_gate.hpp"
#include "pjsua2_names.hpp"
#include "pjsua2_tap.hpp"
%}
%include "pjsua2.i"
%feature("director") pj::RequestGate;
%feature("director") pj::HostNames;
%feature("director") pj::MessageTap;
%ignore pj::HostNames::System;
%include "pjsua2_gate.hpp"
%include "pjsua2_names.hpp"
%include "pjsua2_tap.hpp"
