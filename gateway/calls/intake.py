"""How a call comes into being: of an INVITE that arrived, or of an order to place one.

Owns what a new call brings along: its limits, its descriptions on the terms of its trunk, its identity. Refuses to
know what becomes of it; whether it is tried at all is the controller's to say.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from gateway.calls import actions as do
from gateway.calls import record, routing
from gateway.calls.addresses import Addresses
from gateway.calls.call import Limits
from gateway.calls.errand import Errand, errand_of, new_call_id
from gateway.calls.incoming import IncomingCall
from gateway.calls.media import LegMedia
from gateway.calls.outgoing import OutgoingCall
from gateway.calls.runner import Exchange, Runner
from gateway.config import Config
from gateway.ops.logs import Log
from gateway.sip import events as sip
from gateway.sip.negotiation import KEY_BYTES
from gateway.trunks import IMPLICIT, Trunk, named

#: The sip process gives up a little later than the call itself, which knows better what to say.
_MARGIN_S: Final = 5


class Order(NamedTuple):
    """An outbound call, checked: whom to dial, and through which trunk.

    source: the trunk's address, towards which our media address is chosen.
    """

    session_id: str
    trunk: Trunk
    uri: str
    from_uri: str
    source: str
    speaker: str | None
    ring_s: int
    transport: str
    headers: dict[str, str]


class Intake:
    """Makes calls. now: seconds of the event loop's clock."""

    def __init__(self, config: Config, exchange: Exchange, random: Random, log: Log) -> None:
        self._exchange = exchange
        self._random = random
        self._log = log
        self._dialogs = 0
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """For calls from now on."""
        self._config = config
        self._addresses = Addresses(config.media)

    def of_invite(self, event: sip.Invited, now: float) -> Runner:
        trunk = named(self._config.trunks, event.trunk) or IMPLICIT
        errand = errand_of(event, self._config.routes, trunk)
        media = self._media(event.source, trunk, event.sdp)
        return Runner(self._exchange, IncomingCall(media, event.sdp, self._limits(), now), errand, self._log)

    def of_order(self, order: Order, progress: Callable[[do.Progress], None], now: float) -> Runner:
        self._dialogs -= 1  # the sip process counts its own upwards
        sip_call_id = secrets.token_hex(16)
        identity = record.Identity(
            call_id=new_call_id(),
            sip_call_id=sip_call_id,
            direction="outbound",
            from_uri=order.from_uri,
            to_uri=order.uri,
            source=order.source,
            transport=order.transport,
            route="",
        )
        dial = sip.Dial(
            self._dialogs,
            order.uri,
            sdp="",
            headers=order.headers,
            timeout_s=order.ring_s + _MARGIN_S,
            trunk=order.trunk.name,
            from_uri=order.from_uri,
            sip_call_id=sip_call_id,
        )
        errand = Errand(
            self._dialogs, identity, routing.Existing(order.session_id), order.speaker, dial, progress, order.trunk
        )
        call = OutgoingCall(self._media(order.source, order.trunk, None), self._limits(), order.ring_s, now)
        return Runner(self._exchange, call, errand, self._log)

    def _limits(self) -> Limits:
        config = self._config
        return Limits(config.stream.ready_timeout_s, config.media.no_rtp_timeout_s, config.sip.retry_after_s)

    def _media(self, source: str, trunk: Trunk, offer: str | None) -> LegMedia:
        sip_wide = self._config.sip
        codecs = trunk.codecs or sip_wide.codecs
        srtp = trunk.srtp or sip_wide.srtp
        key = b"" if srtp == "disabled" else os.urandom(KEY_BYTES)
        number = self._random.randrange(1, 1 << 62)
        return LegMedia(self._addresses.towards(source, offer), codecs, number, srtp=srtp, key=key)
