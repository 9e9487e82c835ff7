"""The certificate is looked at before the stack is told; a bad one changes nothing."""

import time

import pytest

from gateway.config import Config
from gateway.sip import tls
from gateway.sip.stack import StackError, TlsOptions
from tests.support.certificates import Authority


class FakeStack:
    def __init__(self, error=""):
        self.error = error
        self.secured = []

    def secure(self, options):
        if self.error:
            raise StackError(self.error)
        self.secured.append(options)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def config(pair, transport="tls"):
    section = {"certificate": str(pair.certificate), "key": str(pair.key)}
    return Config.model_validate({"sip": {"bind": [{"transport": transport, "address": "[::1]:5061"}], "tls": section}})


def test_a_good_certificate_is_taken_up(authority):
    stack, pair = FakeStack(), authority.issue("good", days=5)
    taken = tls.renew(stack, config(pair), time.time())
    assert not taken.problem
    assert 4.9 < (taken.expires_unix - time.time()) / 86400 < 5.1
    assert stack.secured == [TlsOptions(str(pair.certificate), str(pair.key))]


def test_a_bad_one_leaves_the_listener_alone(authority):
    stack, pair = FakeStack(), authority.issue("late", days=-5)
    assert "sip.tls.certificate: " in tls.renew(stack, config(pair), time.time()).problem
    assert stack.secured == []


def test_what_the_stack_refuses_is_told(authority):
    assert (
        tls.renew(FakeStack("address in use"), config(authority.issue("ok")), time.time()).problem == "address in use"
    )


def test_without_a_tls_transport_there_is_nothing_to_take_up(authority):
    stack = FakeStack()
    assert tls.check(config(authority.issue("ok"), "tcp"), time.time()) is None
    assert tls.renew(stack, config(authority.issue("ok"), "tcp"), time.time()) is None
    assert stack.secured == []
