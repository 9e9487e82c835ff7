import msgspec
import pytest

from rtp.settings import Settings


def test_settings_cross_a_process_border_unchanged() -> None:
    settings = Settings(bind="::1", capacity=7, cpu=1, dtx=True)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settings), type=Settings) == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().capacity = 5  # type: ignore[misc]


def test_a_frame_is_cut_in_whole_slots() -> None:
    assert 20 % Settings().slots_per_frame == 0
