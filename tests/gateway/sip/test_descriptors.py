"""Epoll sets are found, and standard output is silenced for a moment."""

import os
import select
import subprocess
import sys

from gateway.sip.descriptors import event_polls


def test_an_epoll_set_is_found_while_it_is_open():
    before = event_polls()
    poll = select.epoll()
    assert event_polls() - before == {poll.fileno()}
    poll.close()
    assert event_polls() == before


def test_silence_takes_what_is_written_to_the_descriptor():
    code = (
        "import os\nfrom gateway.sip.descriptors import silence\nos.write(1, b'before ')\n"
        "with silence():\n    os.write(1, b'within ')\nos.write(1, b'after')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=dict(os.environ))
    assert done.stdout == b"before after"
