"""Every metric of the daemon, as one table: name, help, label values. What `/metrics` shows.

Rules that the table keeps: names start with `glotgate_`, base units (seconds, bytes), each label's values
are listed (`labels.py`), so their number is bounded and every series stands at zero from the start; a value
that is not in the list is counted under `other`. Numbers are put in by whoever knows them
(`metrics.calls_started["inbound"].inc()`) or absorbed from another process's monotonic counters (`feed.py`).
Owns no clock, no socket and no meaning.

What happens fifty times a second for each leg must be added up first and counted once per pass
(`frames_sent.inc(n)`): one `inc` takes about a microsecond.
"""

from __future__ import annotations

from typing import Final

from gateway.ops.labels import (
    AUDIO_FAULTS,
    BAD_MESSAGES,
    END_REASONS,
    OUTCOMES,
    PROCESSES,
    SERVER_TYPES,
    SIP_CODES,
    STREAM_CLOSES,
    STREAM_DROPS,
    STREAM_RESULTS,
    UNDERRUN_LADDER,
)
from gateway.ops.registry import Table
from gateway.ops.totals import Levels, Read, Totals
from rtp.control import LATENESS_BOUNDS_US

_SETUP_S: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_DURATION_S: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_LATENCY_S: Final = (0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_JITTER_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_DELAY_S: Final = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5)
_RATIO: Final = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
_MOS: Final = (1.0, 2.0, 2.6, 3.1, 3.4, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4)
_R: Final = (30, 50, 60, 65, 70, 75, 80, 85, 88, 90, 92, 94)

#: From the end of speech to the first audio of its translation, or of an agent's answer, as people wait for it.
_SPEECH_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0, 8.0)
_MOMENTS = {
    "final": "its text is known",
    "translated": "its first clause is translated",
    "answered": "the first clause of the agent's answer is known",
    "first_audio": "the first audio of translation or answer leaves for the leg",
    "heard": "the first audio is played on the leg",
}
#: What a turn is followed by, where it is not both.
_FOLLOWED_BY = {"translated": ("translation",), "answered": ("answer",)}
_SPEECH_EVENTS = (
    "turn",
    "interrupted",
    "failed_recognition",
    "failed_translation",
    "failed_synthesis",
    "failed_thinking",
    "dropped_turn",
    "dropped_clause",
    "dropped_stale",
)


class Metrics(Table):
    """The controller's table: its own metrics and those that it absorbs from sip and rtp."""

    def __init__(self) -> None:
        super().__init__()
        one, many, gauge, gauges = self._counter, self._counters, self._gauge, self._gauges
        hist, late = self._histogram, [bound / 1e6 for bound in LATENESS_BOUNDS_US]

        # The daemon
        self.build_info = self._info("build_info", "1; what runs here.", "version", "python")
        self.ready = gauge("ready", "1 when /readyz answers 200.")
        self.draining = gauge("draining", "1 while no new calls are taken because the daemon is to stop.")
        self.overloaded = gauge("overloaded", "1 while no new calls are taken for the sake of the running ones.")
        self.config_reloads = many("config_reloads", "Reloads of the configuration.", result=("ok", "refused"))
        self.config_last_reload_ok = gauge("config_last_reload_successful", "1 when the last (re)load was taken.")
        self.process_up = gauges("process_up", "1 while the process runs.", process=PROCESSES)
        self.process_restarts = many("process_restarts", "Restarts by the supervisor.", process=PROCESSES)
        self.process_cpu = many("process_cpu_seconds", "CPU time, user and system.", process=PROCESSES)
        self.process_rss = gauges("process_resident_memory_bytes", "Resident memory.", process=PROCESSES)
        self.process_fds = gauges("process_open_fds", "Open file descriptors.", process=PROCESSES)
        self.channel_refused = self._bounded("channel_refused", "Messages dropped at a full channel.", "process", 4)
        self.channel_refused.absorb({"sip": 0, "rtp": 0})
        self.channel_backlog = gauges(
            "channel_backlog_messages", "Messages waiting for a process.", process=("sip", "rtp")
        )
        self.log_suppressed = one("log_suppressed", "Log lines left out because the same cause was logged before.")

        # Calls
        self.calls_started = many("calls_started", "Calls begun.", direction=("inbound", "outbound"))
        self.calls_ended = many("calls_ended", "Calls over, by how the caller was told.", outcome=OUTCOMES)
        self.calls_end_reason = many(
            "calls_end_reason", "Answered calls over, by who or what ended them.", reason=END_REASONS
        )
        self.calls_active = gauge("calls_active", "Calls that hold a leg now.")
        self.calls_held = gauge("calls_held", "Calls that the other end has put on hold.")
        self.calls_capacity = gauge("calls_capacity", "Calls that fit: media.capacity or the SIP stack's limit.")
        self.sessions_active = gauge("gateway_sessions_active", "Sessions with at least one leg here.")
        self.call_setup = hist("call_setup_seconds", "From INVITE to the 200.", _SETUP_S)
        self.call_duration = hist("call_duration_seconds", "From the 200 to the end.", _DURATION_S)
        self.call_unexpected = one("call_unexpected_events", "Events that the state of their call did not expect.")
        self.audio_faults = many(
            "calls_audio_fault", "Calls with no or one-way audio, by likely cause.", cause=AUDIO_FAULTS
        )
        self.records_failed = one("call_records_failed", "Call records that could not be written.")
        self.directory_requests = many(
            "directory_requests",
            "Requests of the session service, by result.",
            result=("ok", "refused", "unreachable"),
        )
        self.directory_latency = hist(
            "directory_request_seconds", "Time a request to the session service took.", _LATENCY_S
        )

        # SIP agent
        self.sip_responses = many(
            "sip_responses",
            "Responses to INVITEs that calls were given; sip_agent_events has those refused before.",
            code=SIP_CODES,
        )
        self.sip_events = self._bounded("sip_agent_events", "What the user agent counted.", "event", 64)
        self.sip_dialogs = gauge("sip_dialogs", "INVITE dialogs that the user agent holds.")
        self.sip_certificate = many(
            "sip_tls_certificates", "Certificates taken up, and those that could not be.", result=("ok", "refused")
        )
        self.sip_certificate_days = gauge(
            "sip_tls_certificate_expiry_days", "Days until the certificate that is shown ends; 0 without TLS."
        )
        self.sip_fit = gauge("sip_stack_fit_for_network", "1 when the pjsua2 build may face a network.")
        self.trunk_registered = self._info("trunk_registered", "1 while we are registered at the trunk's PBX.", "trunk")
        self.sip_max_calls = gauge("sip_stack_max_calls", "Calls that the pjsua2 build can carry.")

        # Stream
        self.stream_connects = many("stream_connects", "Attempts to open a stream.", result=STREAM_RESULTS)
        self.stream_reconnects = many(
            "stream_reconnects", "Lost streams sought again.", result=("ok", "failed", "given_up")
        )
        self.stream_closes = many("stream_closes", "Streams closed.", reason=STREAM_CLOSES)
        self.streams_open = gauge("streams_open", "Streams that carry audio now.")
        self.stream_frames_sent = one("stream_frames_sent", "Audio frames sent to session streams.")
        self.stream_frames_received = one("stream_frames_received", "audio.output messages taken.")
        self.stream_audio_received = one("stream_audio_received_seconds", "Audio taken from session streams.")
        self.stream_frames_replayed = one("stream_frames_replayed", "Frames sent again after a reconnection.")
        self.stream_dropped = many("stream_frames_dropped", "Audio frames dropped.", reason=STREAM_DROPS)
        self.stream_bytes = many("stream_bytes", "Bytes of stream messages.", direction=("sent", "received"))
        self.stream_queue = gauge("stream_send_queue_bytes", "Waiting for slow session services, all streams.")
        self.stream_messages = many("stream_messages_received", "Messages taken, by type.", type=SERVER_TYPES)
        self.stream_bad = many("stream_bad_messages", "Messages refused, by cause.", cause=BAD_MESSAGES)
        self.playout_queue = gauge("playout_queue_seconds", "Return audio queued and not yet played, all legs.")
        self.playout_dropped = many(
            "playout_dropped_seconds",
            "Return audio never played.",
            reason=("cleared", "queue_full", "leg_ended"),
        )

        # RTP, added up over all legs, those closed included
        self.rtp_packets = many("rtp_packets", "RTP packets.", direction=("in", "out"))
        self.rtp_bytes = many("rtp_payload_bytes", "RTP payload octets.", direction=("in", "out"))
        self.rtp_lost = one("rtp_packets_lost", "Packets lost before us (RFC 3550 A.3).")
        self.rtp_expected = one("rtp_packets_expected", "Packets that should have come.")
        self.rtp_late = one("rtp_packets_late", "Packets after their play time.")
        self.rtp_duplicate = one("rtp_packets_duplicate", "Packets that came twice.")
        self.rtp_reordered = one("rtp_packets_reordered", "Packets out of order and in time.")
        self.rtp_stranger = one("rtp_packets_stranger", "Packets from an address that the leg does not believe.")
        self.rtp_refused = one("rtp_packets_refused", "Our packets refused by ICMP.")
        self.rtp_send_errors = one("rtp_send_errors", "Packets that the kernel did not take.")
        self.rtp_rejected = self._bounded("rtp_packets_rejected", "Packets refused, by reason.", "reason", 32)
        self.rtp_frames = many(
            "rtp_frames",
            "20 ms frames by what they held.",
            kind=("uplink", "concealed", "noise", "silent", "played", "filled"),
        )
        self.rtp_delay_moves = many(
            "rtp_delay_moves", "10 ms pieces that moved the delay.", move=("trimmed", "stretched")
        )
        self.rtp_resyncs = many("rtp_resyncs", "Jumps of a received stream.", cause=("timestamp", "ssrc"))
        self.rtp_underruns = many("rtp_underruns", "Gaps inside return talkspurts, by length.", length=UNDERRUN_LADDER)
        self.rtp_digits = many("rtp_digits", "Key presses by RFC 4733.", direction=("in", "out"))
        self.rtcp_packets = many("rtcp_packets", "RTCP packets.", direction=("in", "out"))
        self.dtmf_info = one("sip_info_digits", "Key presses by SIP INFO.")

        # Quality of each leg, observed when it ends
        self.leg_mos = hist("leg_mos", "MOS-CQE by the E-model (G.107).", _MOS)
        self.leg_r = hist("leg_r_factor", "R by the E-model (G.107).", _R)
        self.leg_jitter = hist("leg_jitter_seconds", "Interarrival jitter (RFC 3550 A.8).", _JITTER_S)
        self.leg_delay = hist("leg_playout_delay_seconds", "Mean delay of the jitter buffer.", _DELAY_S)
        self.leg_loss = hist("leg_loss_ratio", "Share of expected packets lost.", _RATIO)
        self.leg_concealed = hist("leg_concealed_ratio", "Share of frames made up.", _RATIO)
        self.leg_rtt = hist("leg_round_trip_seconds", "RTCP round trip, where known.", _LATENCY_S)

        # The real-time loop
        self.rtp_legs = gauge("rtp_legs", "Legs that the loop serves.")
        self.rtp_ports = gauges("rtp_port_pairs", "RTP port pairs.", state=("free", "quarantined"))
        self.rtp_slots = one("rtp_slots", "Slots of the loop.")
        self.rtp_slots_missed = one("rtp_slots_missed", "Slots skipped because the loop was too late.")
        self.slot_lateness = self._bucketed("rtp_slot_lateness_seconds", "How late slots began.", late)
        self.interval_error = self._bucketed(
            "rtp_transmit_interval_error_seconds", "Send interval minus 20 ms, absolute.", late
        )
        self.realtime_fifo = gauge("realtime_fifo", "1 when the loop runs under SCHED_FIFO.")
        self.realtime_notes = gauge(
            "realtime_notes", "Things that the host did not permit the loop; the log names them."
        )


class SpeechMetrics(Table):
    """What interpreters count: `timing.Measures`."""

    def __init__(self) -> None:
        super().__init__()
        both = ("translation", "answer")
        self._times = {
            name: self._histograms(
                f"speech_{name}_seconds", f"From the end of speech to: {text}.", _SPEECH_S,
                of=_FOLLOWED_BY.get(name, both),
            )
            for name, text in _MOMENTS.items()
        }  # fmt: skip
        self._events = self._counters("speech_events", "Turns, and what became of them.", event=_SPEECH_EVENTS)

    def follow(self, requests: Read, resting: Read) -> None:
        """Show what is kept of engines: requests by (stage, engine, result), and 1 for each (stage, engine) at rest."""
        self.registry.register(
            Totals(
                "glotgate_speech_engine_requests",
                "Requests of engines; passed_over: not made, for the engine rests after failures.",
                ("stage", "engine", "result"),
                requests,
            )
        )
        self.registry.register(
            Levels("glotgate_speech_engine_resting", "1 while an engine is left alone.", ("stage", "engine"), resting)
        )

    def timed(self, moment: str, seconds: float, of: str) -> None:
        self._times[moment][of].observe(seconds)

    def counted(self, event: str) -> None:
        self._events[event].inc()


class SessionsMetrics(Table):
    """The session service's table; its process serves it to the admin address, which joins both."""

    def __init__(self) -> None:
        super().__init__()
        many, gauge = self._counters, self._gauge
        methods, classes = ("GET", "POST", "PUT", "PATCH", "DELETE"), ("2xx", "3xx", "4xx", "5xx")
        self.requests = many("sessions_http_requests", "REST requests.", method=methods, status=classes)
        self.request_time = self._histogram("sessions_http_request_seconds", "Time a REST request took.", _LATENCY_S)
        self.active = gauge("sessions_active", "Sessions not yet ended.")
        self.streams = gauge("sessions_streams_open", "Stream connections.")
        self.stream_events = self._bounded(
            "sessions_stream_events", "What streams refused, dropped or were cut for.", "event", 64
        )
