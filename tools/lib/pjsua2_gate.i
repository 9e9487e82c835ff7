// pjsua2 with the door of pjsua2_gate.hpp: what build-pjsua2 wraps.
%module(directors="1") pjsua2
%{
#include "pjsua2_gate.hpp"
%}
%include "pjsua2.i"
%feature("director") pj::RequestGate;
%include "pjsua2_gate.hpp"
