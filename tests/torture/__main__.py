"""Plays every message and writes `golden.txt` anew: `PYTHONPATH=tools python -m tests.torture`."""

from tests.torture import play

play.GOLDEN.write_text(play.table(play.everything()))
