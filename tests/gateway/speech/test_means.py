"""gateway/speech/means.py"""

from __future__ import annotations

from gateway.ops.metrics import SpeechMetrics
from gateway.speech.fallback import Chains, Health
from gateway.speech.means import Engines, Shared
from gateway.speech.resilience import Limits
from gateway.speech.timing import Measures
from tests.support.engines import PretendEngine
from tests.support.interpreting import engines_of, means, tongue


def test_engines_chains_and_metrics_fit() -> None:
    engines = engines_of(PretendEngine("pretend"))
    fits: list[Engines] = [engines, Chains(engines, Health(lambda: 0.0, Limits(3, 1.0, 2.0)))]
    measures: Measures = SpeechMetrics()
    assert all(one.recognizer("en") is None for one in fits)
    measures.timed("heard", 0.5, "answer")


def test_who_hears_a_party() -> None:
    telling = means(PretendEngine("telling", hears={"en"}, detects=True), lambda: 0.0)
    hearing = means(PretendEngine("hearing", hears={"en"}), lambda: 0.0)
    for made in (telling, hearing):
        assert made.recognizer(tongue("en")) is not None
        assert made.recognizer(tongue(None)) is not None  # the likeliest is English
    assert hearing.recognizer(tongue("es")) is None
    assert hearing.recognizer(tongue(None, "es")) is None


def test_a_session_begins_with_nothing_sent() -> None:
    shared = Shared.fresh(means(PretendEngine("pretend"), lambda: 2.0), lambda name: tongue("en"))
    assert shared.accounts == {}
    assert [shared.new_segment(), shared.new_segment()] == ["seg_7d0_1", "seg_7d0_2"]
