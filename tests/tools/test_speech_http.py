from __future__ import annotations

import numpy as np
from rig import speech_http

from gateway.speech.settings import Speech


def test_its_engines_are_a_configuration() -> None:
    engines = {"hosted": speech_http.engine("http://127.0.0.1:1/v1", "en")}
    speech = Speech.model_validate({"engines": engines, "recognition": ["hosted"]})
    assert set(speech.engines) == {"hosted", "offline"}


def test_percentiles() -> None:
    assert speech_http.percentiles([]) == {}
    assert speech_http.percentiles(list(np.arange(101.0))) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_a_sentence_ends_with_its_last_frame() -> None:
    for frames, sounding in speech_http.spoken():
        assert len(frames) == sounding
        assert {len(frame) for frame in frames} == {speech_http.FRAME}
