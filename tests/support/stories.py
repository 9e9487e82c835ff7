"""A call's state machine in a test's hands: what happens to it, and what it wants done about it."""

from __future__ import annotations

from typing import Generic, TypeVar

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import Call
from gateway.errors import GatewayError

AnyCall = TypeVar("AnyCall", bound=Call)


class Story(Generic[AnyCall]):
    """A call and what it wanted last. It began at `now`, in seconds."""

    def __init__(self, call: AnyCall, now: float) -> None:
        self.now = now
        self.call = call
        self.done: list[do.Action] = []

    def begin(self, refusal: GatewayError | None = None) -> list[do.Action]:
        self.done = self.call.begin(refusal)
        return self.done

    def tell(self, *events: inputs.Input, after: float = 0.0) -> list[do.Action]:
        """What the last of these events brought about."""
        self.now += after
        for event in events:
            self.done = self.call.handle(event, self.now)
        return self.done

    @property
    def names(self) -> list[str]:
        return [type(action).__name__ for action in self.done]
