"""gateway/sessions/ratelimit.py"""

from __future__ import annotations

from gateway.sessions.ratelimit import RateLimiter


def test_a_window_and_the_next() -> None:
    limiter = RateLimiter()
    allowed = [limiter.take("org", 3, 120.0 + n) for n in range(5)]
    assert [a.refused for a in allowed] == [False, False, False, True, True]
    assert [a.remaining for a in allowed] == [2, 1, 0, 0, 0]
    assert {a.reset for a in allowed} == {180}
    assert allowed[3].retry_after_s == 57
    assert not limiter.take("org", 3, 180.0).refused


def test_organizations_do_not_share() -> None:
    limiter = RateLimiter()
    assert not limiter.take("a", 1, 0.0).refused
    assert limiter.take("a", 1, 0.0).refused
    assert not limiter.take("b", 1, 0.0).refused
