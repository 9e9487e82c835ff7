"""Orders to dial that come by a session's stream: how a service that can not reach our admin address has a call placed.

Owns the bound on orders under way, and that each gets one answer, with its `id`. What an order must be and who may
be dialled is `dialling.py`'s; it is always for the session of the stream that it came by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.calls import dialling
from gateway.calls.dialling import Dialler
from gateway.errors import Fault, GatewayError, LocalFault
from gateway.stream import messages as m

#: Orders under way, of all sessions; one more is refused.
BOUND: Final = 64

Tell = Callable[[m.ClientMessage], None]


class Summons:
    """Takes the orders of all streams. `dialler`: None until the trunks are known."""

    def __init__(self) -> None:
        self.dialler: Dialler | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, session_id: str, message: m.CallDial, tell: Tell) -> None:
        """Have somebody called into a session. tell: sends to its stream, also when that is another by then."""
        if len(self._tasks) >= BOUND:
            tell(_refusal(message, LocalFault(Fault.OVERLOADED, f"{BOUND} orders to dial are under way")))
            return
        task = asyncio.get_running_loop().create_task(self._carry_out(session_id, message, tell))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, session_id: str, message: m.CallDial, tell: Tell) -> None:
        order = msgspec.to_builtins(message) | {"session_id": session_id}
        try:
            if self.dialler is None:
                raise LocalFault(Fault.SERVICE_UNAVAILABLE, "the gateway has just started")
            call = await self.dialler.dial(dialling.read(msgspec.json.encode(order)))
        except GatewayError as error:
            tell(_refusal(message, error))
        else:
            tell(m.CallDialed(message.id, call["id"], call["speaker"], call["status"], call["sip_call_id"], call["to"]))

    async def close(self) -> None:
        """Let go of what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _refusal(message: m.CallDial, error: GatewayError) -> m.CallError:
    return m.CallError(message.speaker or "", error.fault.value.code, error.message, id=message.id)
