"""The SIP messages of calls, asked of the sip process that keeps them.

Owns the questions that wait for their answer, and which Call-ID a call had that is over by now. Both are bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.sip import events as sip

#: How long the sip process may take; one that is being replaced has forgotten everything anyway.
ANSWER_S: Final = 2.0
MAX_WAITING: Final = 32
#: Calls that are over and may still be asked about, as long as there is room for their messages.
MAX_OVER: Final = 4096


class Traces:
    """send: to the sip process."""

    def __init__(self, send: Callable[[sip.TraceWanted], None]) -> None:
        self._send = send
        self._waiting: dict[int, asyncio.Future[list[sip.WireMessage]]] = {}
        self._over: OrderedDict[str, str] = OrderedDict()
        self._requests = 0

    def over(self, call_id: str, sip_call_id: str) -> None:
        """A call has ended; it may be asked about for a while."""
        self._over[call_id] = sip_call_id
        if len(self._over) > MAX_OVER:
            self._over.popitem(last=False)

    async def ask(self, call_id: str, sip_call_id: str | None) -> list[sip.WireMessage] | None:
        """The messages of a call, the oldest first. sip_call_id: of one that runs. None: there is no such call."""
        sip_call_id = sip_call_id or self._over.get(call_id)
        if sip_call_id is None:
            return None
        if len(self._waiting) >= MAX_WAITING:
            return []
        self._requests += 1
        request = self._requests
        waiting: asyncio.Future[list[sip.WireMessage]] = asyncio.get_running_loop().create_future()
        self._waiting[request] = waiting
        self._send(sip.TraceWanted(request, sip_call_id))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await waiting
        except TimeoutError:
            return []
        finally:
            del self._waiting[request]

    def answered(self, event: sip.Traced) -> None:
        waiting = self._waiting.get(event.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(event.messages)


def as_text(messages: list[sip.WireMessage]) -> str:
    """For people: each message under a line that says when, and which way it went."""
    parts = []
    for message in messages:
        seconds, micros = divmod(message.time_us, 1_000_000)
        hour, minute, second = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
        way = f"{message.local} → {message.remote}" if message.sent else f"{message.local} ← {message.remote}"
        head = f"--- {hour:02}:{minute:02}:{second:02}.{micros:06} UTC  {message.transport}  {way}"
        parts.append(f"{head}\n{message.text.replace(chr(13), '')}\n")
    return "\n".join(parts)
