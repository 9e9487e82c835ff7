"""gateway/sessions/replies.py"""

from __future__ import annotations

import pytest

from gateway.errors import Fault, PeerFault
from gateway.sessions import replies, store
from gateway.sessions.database import Database
from gateway.sessions.idempotency import Ticket
from gateway.sessions.replies import Reply

TICKET = Ticket("org", "POST /x", "k", "digest")
REPLY = Reply(201, b'{"id":1}', {"Deprecation": "true"})


def test_an_answer_is_given_again_for_a_day(database: Database) -> None:
    assert database.call(replies.recall, TICKET, 100.0) is None
    database.call(replies.remember, TICKET, REPLY, 100.0)
    again = database.call(replies.recall, TICKET, 101.0)
    assert again == Reply(201, REPLY.body, {"Deprecation": "true", "Idempotent-Replayed": "true"})
    assert database.call(replies.recall, TICKET._replace(organization_id="other"), 101.0) is None
    with pytest.raises(PeerFault) as caught:
        database.call(replies.recall, TICKET._replace(digest="of another body"), 101.0)
    assert caught.value.fault is Fault.IDEMPOTENCY_MISMATCH
    assert database.call(replies.recall, TICKET, 100.0 + store.KEEP_ANSWERS_S) is None


def test_the_first_answer_stays(database: Database) -> None:
    database.call(replies.remember, TICKET, REPLY, 100.0)
    with pytest.raises(PeerFault) as caught:
        database.call(replies.remember, TICKET, Reply(201, b"{}", {}), 101.0)
    assert caught.value.fault is Fault.IDEMPOTENCY_CONFLICT
    kept = database.call(replies.recall, TICKET, 102.0)
    assert kept is not None
    assert kept.body == REPLY.body


def test_without_a_key_nothing_is_kept(database: Database) -> None:
    database.call(replies.remember, None, REPLY, 100.0)
    assert database.call(replies.recall, None, 100.0) is None
