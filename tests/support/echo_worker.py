"""A worker process that says what it is told."""

from __future__ import annotations

import os
import sys

import msgspec

from gateway.speech.engines.worker import Ready, enter, messages, say


class Ask(msgspec.Struct, tag="ask"):
    text: str


class Told(msgspec.Struct, tag="told"):
    text: str


Word = Ready | Told

if __name__ == "__main__":
    end = enter(sys.argv[1])
    say(end, Ready({"says": "echo", "pid": os.getpid()}))
    for asked in messages(end, Ask):
        say(end, Told(asked.text))
