import pytest

from gateway.calls.diagnosis import ADVICE, CEASED, WATCHED, Diagnosis, Finding
from gateway.ops.labels import AUDIO_FAULTS

GOOD = {"last_packet_ns": 1_000_000_000, "frames_up": 50}


def watch(growth: dict[str, int], seconds: int = 4, held: bool = False, diagnosis: Diagnosis | None = None):
    """What is found while these figures grow every second."""
    diagnosis = diagnosis or Diagnosis()
    total = dict.fromkeys(WATCHED, 0)
    grown = total | growth
    found = []
    for second in range(1, seconds + 1):
        total = {name: value + grown[name] for name, value in total.items()}
        found.append(diagnosis.look(second, total, grown, held=held))
    return [f for f in found if f]


def test_a_good_call_has_no_finding() -> None:
    assert watch(GOOD, seconds=30) == []


@pytest.mark.parametrize(
    ("growth", "kind", "cause"),
    [
        ({}, "one_way_audio", "no_packets"),
        ({"packets_stranger": 50}, "one_way_audio", "stranger"),
        ({"packets_bad_payload": 50}, "one_way_audio", "bad_payload_type"),
        ({"packets_bad_auth": 50}, "one_way_audio", "srtp_failures"),
        ({"packets_refused": 50}, "no_audio", "icmp_refused"),
        ({**GOOD, "packets_refused": 50}, "one_way_audio", "icmp_refused"),
        ({**GOOD, "frames_silent": 50}, "one_way_audio", "only_silence"),
    ],
)
def test_each_cause_is_named_within_three_seconds_and_once(growth: dict[str, int], kind: str, cause: str) -> None:
    assert [(f.kind, f.cause) for f in watch(growth, seconds=3)] == [(kind, cause)]
    assert len(watch(growth, seconds=60)) == 1


def test_the_stranger_is_named() -> None:
    diagnosis = Diagnosis()
    diagnosis.stranger = "192.0.2.7:4000"
    found = watch({"packets_stranger": 50}, diagnosis=diagnosis)
    assert "192.0.2.7:4000" in found[0].detail


def test_what_ceases_is_not_blamed_on_the_firewall() -> None:
    diagnosis = Diagnosis()
    nothing = dict.fromkeys(WATCHED, 0)
    had = nothing | {"last_packet_ns": 10**12}
    found = [diagnosis.look(second, had, nothing, held=False) for second in range(1, 4)][1]
    assert found is not None
    assert (found.cause, found.detail) == ("no_packets", CEASED)


def test_a_held_call_may_be_silent() -> None:
    assert watch({}, seconds=20, held=True) == []


def test_silence_by_agreement_is_no_fault() -> None:
    assert watch({"frames_up": 50, "frames_noise": 50}, seconds=20) == []
    assert watch({"frames_up": 50, "frames_noise": 50, "packets_stranger": 50}, seconds=20) == []


def test_two_seconds_that_do_not_follow_each_other_are_no_finding() -> None:
    diagnosis = Diagnosis()
    nothing = dict.fromkeys(WATCHED, 0)
    assert [diagnosis.look(second, nothing, nothing, held=False) for second in (1, 3, 5, 7)] == [None] * 4
    assert diagnosis.look(8, nothing, nothing, held=False) is not None


def test_speech_after_silence_is_no_fault() -> None:
    diagnosis = Diagnosis()
    watch({**GOOD, "frames_silent": 49}, seconds=30, diagnosis=diagnosis)
    assert diagnosis.findings == []


def test_every_cause_has_its_advice_and_its_metric() -> None:
    assert set(ADVICE) == set(AUDIO_FAULTS) - {"unknown"}
    assert isinstance(Finding("no_audio", "no_packets", "x"), tuple)
