"""A session that has legs here: one stream, shared by its legs, and who hears what.

Theory of operation. A leg first joins (it has a name and waits for `session.ready`), is attached when it has
been answered (its frames go up, its play-out takes what is targeted at it), may lose its row and get another
one (the rtp process died), and leaves. Frames of a speaker whose leg comes back go on with the next sequence
number, on one media time for the whole session: the milliseconds since the session came here.

Owns the stream client and the mapping of speakers to legs. Refuses to know SIP and what a call is beyond the
`Participant` that it talks to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol

from gateway.calls import mixing, routing
from gateway.calls.timings import Timings
from gateway.config import Config
from gateway.ops.logs import Log, OncePerCall
from gateway.ops.metrics import Metrics
from gateway.stream import messages
from gateway.stream.client import StreamClient
from gateway.stream.connection import Over
from gateway.stream.playout import OCTETS_PER_MS, Playout
from gateway.stream.protocol import Bad, Incoming, PlayAudio
from gateway.stream.pump import Pump, Totals
from rtp.control import SetGains
from rtp.engine import Leg
from rtp.plane import Plane

#: How long `session.end` may go unanswered before the directory is asked to end the session.
END_TIMEOUT_S: Final = 2.0


class Participant(Protocol):
    """A leg's call, as its session sees it."""

    call_id: str
    timings: Timings

    def joined(self, speaker: str) -> messages.CallJoined: ...
    def left(self, speaker: str, reason: str) -> messages.CallLeft: ...
    def stream_ready(self, speaker: str) -> None: ...
    def stream_over(self, over: Over) -> None: ...
    def send_digits(self, digits: str) -> None: ...
    def transfer(self, to: str) -> None: ...
    def hang_up(self, reason: str) -> None: ...


class Place(NamedTuple):
    """What all sessions share.

    set_gains: to the real-time loop. once: one log line per cause and session. summon: takes orders to dial.
    """

    config: Config
    plane: Plane
    pump: Pump
    set_gains: Callable[[SetGains], None]
    totals: Totals
    metrics: Metrics
    log: Log
    once: OncePerCall
    summon: Callable[[str, messages.CallDial, Callable[[messages.ClientMessage], None]], None]


class _Member:
    def __init__(self, speaker: str, call: Participant) -> None:
        self.speaker = speaker
        self.call = call
        self.leg: Leg | None = None
        self.playout: Playout | None = None
        self.sequence = 0
        self.joined = False


class LiveSession:
    """A session with legs here. end: asks the directory to end it. gone: called once, when nobody is left here."""

    def __init__(
        self,
        session_id: str,
        mode: str,
        place: Place,
        make_client: Callable[[LiveSession], StreamClient],
        end: Callable[[str, str], None],
        gone: Callable[[LiveSession], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = session_id
        self.mode = mode
        self.is_ready = False
        self._place = place
        self._totals = place.totals
        self._end = end
        self._gone: Callable[[LiveSession], None] | None = gone
        self._members: dict[str, _Member] = {}
        self._next: dict[str, tuple[int, int]] = {}  # sequence and media time of a speaker's next message
        self._routes: dict[tuple[str, str | None], tuple[Playout, ...]] = {}
        self._route: tuple[str, str | None, tuple[Playout, ...]] = ("", "", ())  # the last one that was taken
        self._loop = loop
        self._began = loop.time()
        self._mixed = False
        self._ending: asyncio.TimerHandle | None = None
        self.client = make_client(self)

    # Legs

    @property
    def members(self) -> int:
        return len(self._members)

    @property
    def ending(self) -> bool:
        """Its last leg has left: nobody may join any more."""
        return self._gone is None or self._ending is not None

    def join(self, call: Participant, asked: str | None) -> str:
        """A place in the session and the name that goes with it. `call.stream_ready` follows."""
        name = routing.place(asked, self._members)
        self._members[name] = _Member(name, call)
        self.client.speakers(len(self._members))
        if self.is_ready:
            self._loop.call_soon(self._tell_ready, name, call)
        return name

    def attach(self, speaker: str, leg: Leg, *, early: bool = False) -> None:
        """The leg was answered, or is back with another row: audio flows.

        early: it rings and is heard already; it joins with the answer.
        """
        member = self._members[speaker]
        if member.leg != leg:
            self._connect(member, leg)
        if not early and not member.joined:
            member.joined = True
            self.client.send(member.call.joined(speaker))
        self._mix()

    def _connect(self, member: _Member, leg: Leg) -> None:
        speaker = member.speaker
        member.leg = leg
        config = self._place.config.media.playout
        queue = config.queue_s * 1000 * OCTETS_PER_MS
        pushback = config.when_full == "pushback"
        member.playout = Playout(self._place.plane, leg.row, speaker, queue, pushback=pushback)
        self._forget_routes()
        number, not_before = self._next.get(speaker, (0, 0))
        media_time = max(not_before, int((self._loop.time() - self._began) * 1000))
        self._place.pump.attach(leg.row, self.client, speaker, number, media_time)

    def detach(self, speaker: str) -> None:
        """The leg's row is gone; its place is kept."""
        member = self._members.get(speaker)
        if member is None or member.leg is None or member.playout is None:
            return
        self._next[speaker] = self._place.pump.next_of(member.leg.row)
        self._place.pump.detach(member.leg.row)
        self._place.pump.forget(member.playout)
        if (last := member.playout.finish()) is not None:
            self.client.send(last)
        self._count_dropped(member.playout)
        member.leg = member.playout = None
        self._forget_routes()

    def leave(self, speaker: str, reason: str) -> None:
        """The leg has ended. The last one takes the session along, if the configuration says so."""
        member = self._members.get(speaker)
        if member is None:
            return
        self.detach(speaker)
        del self._members[speaker]
        if member.joined:
            self.client.send(member.call.left(speaker, reason))
            self._mix()
        if self._members:
            self.client.speakers(len(self._members))
        elif self._gone is not None:
            self._last_left(reason, member.joined)

    def _last_left(self, reason: str, talked: bool) -> None:
        if talked and self._place.config.sessions.on_last_leg == "end":
            if self.client.is_open:
                self.client.send(messages.SessionEnd())
                self._ending = self._loop.call_later(END_TIMEOUT_S, self._unanswered, reason)
                return
            self._end(self.id, reason)
        self._close()

    def _unanswered(self, reason: str) -> None:
        self._end(self.id, reason)
        self._close()

    def _close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self.client.stop()
        if self._gone is not None:
            gone, self._gone = self._gone, None
            self._place.once.end(self.id)
            gone(self)

    def abandon(self) -> None:
        """The daemon stops: let go of the stream at once."""
        self._close()

    def _count_dropped(self, playout: Playout) -> None:
        dropped = self._place.metrics.playout_dropped
        for reason, octets in (
            ("cleared", playout.cleared),
            ("queue_full", playout.overflowed),
            ("leg_ended", playout.cut_off),
        ):
            dropped[reason].inc(octets / OCTETS_PER_MS / 1000)

    def tell(self, message: messages.ClientMessage) -> None:
        self.client.send(message)

    def queued_ms(self) -> int:
        """Return audio not yet played, all legs."""
        return sum(m.playout.queued_ms for m in self._members.values() if m.playout is not None)

    # From the stream

    def stream_open(self, ready: messages.SessionReady, *, again: bool) -> None:
        self._act_as(ready.mode or self.mode)
        self.is_ready = True
        if not again:
            for member in list(self._members.values()):
                member.call.stream_ready(member.speaker)

    def stream_lost(self, rewind: int) -> None:
        if self._place.once.first("stream_lost", self.id):
            self._place.log.warning("stream_lost", session_id=self.id)
        pump = self._place.pump
        for member in self._members.values():
            if member.leg is not None:
                pump.rewind(member.leg.row, rewind)
        pump.wake()

    def stream_over(self, over: Over) -> None:
        self.is_ready = False
        members = list(self._members.values())
        for member in members:
            self.detach(member.speaker)
        self._members.clear()
        self._close()
        for member in members:
            member.call.stream_over(over)

    def stream_play(self, message: PlayAudio) -> None:
        """The hot one: fifty times a second for each leg."""
        speaker, target, playouts = self._route
        if message.target != target or message.speaker != speaker:
            playouts = self._find(message.speaker, message.target)
        payload = message.audio.payload
        totals = self._totals
        totals.frames_received += 1
        totals.audio_received += len(payload)
        if not playouts:
            self._place.metrics.stream_dropped["no_such_target"].inc()
        for playout in playouts:
            if playout.append(payload):
                self._place.pump.watch(playout, self.client)

    def _find(self, speaker: str, target: str | None) -> tuple[Playout, ...]:
        """Who plays it: the target; without one, everyone but the speaker. Targets elsewhere are not ours."""
        playouts = self._routes.get((speaker, target))
        if playouts is None:
            if target is None:
                found = [m.playout for m in self._members.values() if m.speaker != speaker]
            else:
                found = [m.playout for m in self._members.values() if m.speaker == target]
            playouts = tuple(playout for playout in found if playout is not None)
            if len(self._routes) >= _MAX_ROUTES:  # names are the peer's to invent
                self._routes.clear()
            self._routes[speaker, target] = playouts
        self._route = speaker, target, playouts
        return playouts

    def _forget_routes(self) -> None:
        self._routes.clear()
        self._route = "", "", ()

    def stream_message(self, message: Incoming) -> None:
        self._place.metrics.stream_messages[str(message.__struct_config__.tag)].inc()
        match message:
            case messages.AudioClear(target):
                for playout in self._playouts(target):
                    playout.clear()
                    self._place.pump.watch(playout, self.client)
            case messages.Mark(name, target):
                for playout in self._playouts(target):
                    playout.mark(name)
                    self._place.pump.watch(playout, self.client)
            case messages.DtmfSend(target, digits):
                if call := self._call(target):
                    call.send_digits(digits)
            case messages.CallDial():
                self._place.summon(self.id, message, self.tell)
            case messages.CallTransfer(target, to):
                if call := self._call(target):
                    call.transfer(to)
            case messages.CallHangup(target, reason):
                if call := self._call(target):
                    call.hang_up(reason or "call.hangup")
            case messages.SessionMode(_, mode):
                self._act_as(mode)
            case messages.TurnTiming(_, _, speaker, timing_ms):
                if speaker in self._members:
                    self._members[speaker].call.timings.add(timing_ms)
            case _:
                pass  # transcripts, pong, errors: for other readers of the stream

    def stream_bad(self, cause: Bad) -> None:
        self._place.metrics.stream_bad[cause.value].inc()
        if self._place.once.first(cause.value, self.id):
            self._place.log.warning("stream_message_refused", session_id=self.id, cause=cause.value)

    def _playouts(self, target: str | None) -> list[Playout]:
        found = [m.playout for m in self._members.values() if target is None or m.speaker == target]
        return [playout for playout in found if playout is not None]

    def _call(self, target: str) -> Participant | None:
        member = self._members.get(target)
        if member is None:
            self._place.metrics.stream_bad["unknown_target"].inc()
            self.client.send(messages.CallError(target, "unknown_target", "no leg of that name is here"))
        return None if member is None else member.call

    def _tell_ready(self, name: str, call: Participant) -> None:
        member = self._members.get(name)
        if member is not None and member.call is call and self.is_ready:
            call.stream_ready(name)

    def _act_as(self, mode: str) -> None:
        if mode != self.mode:
            self.mode = mode
            self._mix()

    def _mix(self) -> None:
        """Who hears whom has changed. A session that never had two legs needs no word about it."""
        legs = [
            mixing.Member(m.speaker, m.leg.row, m.leg.generation) for m in self._members.values() if m.leg is not None
        ]
        if len(legs) < 2 and not self._mixed:
            return
        self._mixed = True
        gain: float | Literal["off"] = self._place.config.media.original_gain_db
        for command in mixing.gains(self.mode, legs, gain):
            self._place.set_gains(command)


#: Pairs of speaker and target that are remembered per session.
_MAX_ROUTES: Final = 64
