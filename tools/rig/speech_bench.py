"""The speech bench: words understood, seconds until they are heard in Spanish, and what a stalling engine costs others.

Owns the three measurements, their limits and what is printed. The sentences are none of those on which anything was
tuned. Knows the daemon from outside, except where it measures one part by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.speech import mulaw
from gateway.speech.detection import TextDetector
from gateway.speech.endpointing import Tuning
from gateway.speech.engines import hearing_worker
from gateway.speech.engines.offline import Offline
from gateway.speech.engines.registry import Engines
from gateway.speech.means import Means, Shared
from gateway.speech.pipeline import Pipeline
from gateway.speech.stages import Heard, Stage, Translator
from gateway.speech.terms import Terms
from gateway.speech.tongue import Tongue
from rig.daemon import Daemon, end_in_order
from rig.demo import create_key, create_session
from rig.latency import quantile
from rig.softphone import Softphone, scratch
from rig.sound import RATE, Samples, find, join, silence, speak, speak_english, write_wav

SENTENCES = (
    "We close at six in the evening.",
    "Where can I park my car?",
    "I lost my passport at the airport.",
    "The invoice that you sent me is wrong.",
    "Can I pay with a credit card?",
    "My brother lives in a small town near the sea.",
    "The bus stops in front of the school.",
    "I am looking for a quiet room.",
    "She wants to talk to the manager.",
    "Please tell him that I will be late.",
    "There is a problem with my internet connection.",
    "How long does the journey take?",
    "The office is on the second floor.",
    "We need more time to finish the work.",
    "He has not paid for the last three months.",
    "The weather will be better next week.",
    "I would like a cup of coffee and a glass of water.",
    "Your appointment is on Monday at ten.",
    "Do you have a table by the window?",
    "The machine stopped working this morning.",
    "I will send you the documents by mail.",
    "The children are playing in the garden.",
    "It is too expensive for me.",
    "Thank you for your patience.",
)
#: What is said in the calls of the latency measurement; recognized by the voice that says it.
CALLED = (
    "The office is on the second floor.",
    "The children are playing in the garden.",
    "We need more time to finish the work.",
    "I will send you the documents by mail.",
    "The weather will be better next week.",
)
LIMITS = {
    "wer": 0.35,
    "rtf": 0.3,
    "heard_p50_s": 1.0,
    "heard_p95_s": 1.6,
    "stall_healthy_p95_s": 1.6,
    "stall_loop_lag_max_ms": 50.0,
}
#: Of the histograms of turns, those of translations.
_OF = '{of="translation"}'
CALLS = 4
STALLED = 20
STALL_S = 30.0


def telephone(samples: Samples) -> bytes:
    """As a call brings it: mu-law, half the level of the synthesizer, a moment of silence around it."""
    padded = join([silence(0.3), samples * np.float32(0.5), silence(0.3)])
    return mulaw.encode((padded * 32767).astype(np.int32)).tobytes()


# ---- words ------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def edits(wanted: Sequence[str], got: Sequence[str]) -> int:
    """Words to change, add or leave out."""
    row = list(range(len(got) + 1))
    for i, one in enumerate(wanted, 1):
        before, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != other)))
    return row[-1]


def measure_words(folder: Path) -> dict[str, Any]:
    """Word error rate and CPU time per second of speech; each voice is one speaker of one line."""
    from pocketsphinx import Decoder

    voices = {
        "espeak-ng": lambda text: speak(text, folder / "s.wav"),
        "flite": lambda t: speak_english(t, folder / "s.wav"),
    }
    result: dict[str, Any] = {"sentences": len(SENTENCES), "voices": {}}
    errors = total = 0
    cpu = seconds = 0.0
    for voice, say in voices.items():
        listener = hearing_worker.Listener(Decoder(**hearing_worker.OPTIONS))
        wrong = count = 0
        for number, text in enumerate(SENTENCES):
            octets = telephone(say(text))
            began = time.process_time()
            for at in range(0, len(octets), 640):
                listener.take(hearing_worker.Audio(octets[at : at + 640]))
            (answer,) = listener.take(hearing_worker.End(number))
            cpu += time.process_time() - began
            seconds += len(octets) / RATE
            wrong += edits(words(text), words(answer.text))
            count += len(words(text))
        result["voices"][voice] = round(wrong / count, 3)
        errors, total = errors + wrong, total + count
    return result | {"wer": round(errors / total, 3), "rtf": round(cpu / seconds, 3)}


# ---- latency ----------------------------------------------------------------------------------------


def measure_latency(folder: Path, speech: dict[str, Any] | None = None) -> dict[str, Any]:
    """Four calls at a time by independent phones: end of each sentence to the first sound of its Spanish. speech: of
    the configuration; without it the offline engine serves."""
    spoken = [speak_english(text, folder / f"{n}.wav") for n, text in enumerate(CALLED)]
    waits: list[float] = []
    missing: list[str] = []
    lock = threading.Lock()
    with Daemon(capacity=16, changes={"sessions": {"interpreter": "pipeline"}, "speech": speech or {}}) as daemon:
        key = create_key(daemon)

        def one(number: int) -> None:
            order = [(number + n) % len(CALLED) for n in range(len(CALLED))]
            parts = [silence(1.0 + 0.7 * number)]
            for index in order:
                parts += [spoken[index], silence(4.5)]
            said = folder / f"call-{number}.wav"
            write_wav(said, join(parts))
            phone = Softphone(folder / f"phone-{os.getpid()}-{number}", said)
            session = create_session(daemon, key)
            phone.call(f"sip:{session['id']}@{daemon.sip_address}", sum(part.size for part in parts) / RATE + 0.3)
            sent, heard, at = phone.spoken(), phone.heard(), 0.0
            for index in order:
                place = find(spoken[index], sent, at)
                end = place.start_s + spoken[index].size / RATE
                after = np.flatnonzero(np.abs(heard[int(place.start_s * RATE) :]) > 0.02)
                first = place.start_s + after[0] / RATE if after.size else None
                with lock:
                    if first is None or first > end + 4.4:
                        missing.append(CALLED[index])
                    else:
                        waits.append(first - end)
                at = end + 4.0

        threads = [threading.Thread(target=one, args=(number,)) for number in range(CALLS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stages = {name: value for name, value in daemon.metrics().items() if "speech_" in name and "bucket" not in name}
    return {
        "calls": CALLS,
        "sentences": len(waits),
        "missing": missing,
        "heard_p50_s": round(quantile(waits, 0.5), 3) if waits else None,
        "heard_p95_s": round(quantile(waits, 0.95), 3) if waits else None,
        "stages_mean_s": {
            moment: round(stages[f"glotgate_speech_{moment}_seconds_sum{_OF}"] / count, 3)
            for moment in ("final", "translated", "first_audio", "heard")
            if (count := stages.get(f"glotgate_speech_{moment}_seconds_count{_OF}"))
        },
    }


# ---- stall ------------------------------------------------------------------------------------------


class Ear:
    """A sink that notes when a session first hears something after a moment, and what went wrong."""

    def __init__(self) -> None:
        self.sounds: list[float] = []
        self.errors: list[str] = []
        self.finals = 0

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, octets: bytes) -> None:
        self.sounds.append(time.monotonic())

    def failed(self, code: str, message: str) -> None:
        self.errors.append(message)

    def final(self, *_: Any) -> None:
        self.finals += 1

    def ignore(self, *_: Any) -> None:
        """What is of no interest here."""

    clear = mark = partial = settled = timed = acts_as = processing = transfer = end_call = ignore


class Stalling:
    """A translator before which everybody waits until it goes on."""

    def __init__(self, inner: Translator) -> None:
        self.engine, self.pairs = inner.engine, inner.pairs
        self.goes = asyncio.Event()
        self._inner = inner

    async def translate(
        self, text: str, source: str, target: str, *, context: Sequence[str] = ()
    ) -> AsyncIterator[str]:
        await self.goes.wait()
        async for piece in self._inner.translate(text, source, target):
            yield piece


class Known:
    """A recognizer that always hears the same: twenty that compute would measure the processor."""

    engine, languages, detects = "known", frozenset({"en"}), False

    def listen(self, language: str | None, partial: Any) -> Known:
        return self

    def end(self) -> asyncio.Future[Heard]:
        answer: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        answer.set_result(Heard(CALLED[0], "en", 1.0))
        return answer

    def feed(self, octets: bytes) -> None:
        """It knows."""

    def pause(self) -> None:
        """It waits for the end."""

    drop = close = pause


class Some:
    """Engines with another recognizer and translator."""

    def __init__(self, engines: Engines, translator: Translator, recognizer: Known | None) -> None:
        self._translator = translator
        self._engines, self._known = engines, recognizer
        self.synthesizer = engines.synthesizer

    def recognizer(self, language: str | None) -> Any:
        return self._known or self._engines.recognizer(language)

    def translator(self, source: str, target: str) -> Translator:
        return self._translator


class Nothing:
    def timed(self, moment: str, seconds: float, of: str) -> None: ...
    def counted(self, event: str) -> None: ...


async def measure_stall(folder: Path) -> dict[str, Any]:
    """Twenty sessions whose translator stands still for half a minute, and one beside them whose does not."""
    engine = Offline("offline", 64)
    await engine.start()
    engines = Engines({"offline": engine}, {stage: ["offline"] for stage in Stage})
    assert engine.translator is not None
    stalling = Stalling(engine.translator)
    terms, detector = Terms("bidirectional_translation", "en", "es"), TextDetector()

    def pipeline(ear: Ear, translator: Translator, recognizer: Known | None = None) -> Pipeline:
        means = Means(
            Some(engines, translator, recognizer), lambda stage, language: f"{stage} of {language}",
            Tuning(hangover_ms=500), 260, time.monotonic, Nothing(),
        )  # fmt: skip
        return Pipeline(ear, terms, Shared.fresh(means, lambda name: Tongue("en", ["en"], detector)))

    lags: list[float] = []

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            lags.append(time.monotonic() - due)

    speech = telephone(speak_english(CALLED[0], folder / "s.wav"))[2400:-2400]
    waits: list[float] = []
    ears = [Ear() for _ in range(STALLED)]
    stalled, healthy_ear = [pipeline(ear, stalling, Known()) for ear in ears], Ear()
    healthy = pipeline(healthy_ear, engine.translator)
    watcher = asyncio.create_task(watch())

    async def talk(one: Pipeline, offset_s: float, every_s: float, until: float, ear: Ear | None) -> None:
        """A sentence now and then, silence between, in real time."""
        clock, start = 0, time.monotonic() + offset_s
        quiet = mulaw.SILENCE * int(every_s * RATE - len(speech))
        line = speech + quiet
        while start + clock / 1000 < until:
            await asyncio.sleep(max(0.0, start + clock / 1000 - time.monotonic()))
            at = clock * 8 % len(line)
            one.audio("customer", clock, line[at : at + 160])
            if ear is not None and at <= len(speech) < at + 160:
                asyncio.get_running_loop().call_later(4.0, heard, ear, time.monotonic())
            clock += 20

    def heard(ear: Ear, end: float) -> None:
        after = [at for at in ear.sounds if at > end - 0.5]
        waits.append(after[0] - end if after else 99.0)

    until = time.monotonic() + STALL_S + 20
    asyncio.get_running_loop().call_later(STALL_S, stalling.goes.set)
    talks = [talk(one, 0.37 * n, 10.0, until, None) for n, one in enumerate(stalled)]
    await asyncio.gather(talk(healthy, 0.2, 5.0, until, healthy_ear), *talks)
    await asyncio.sleep(1.0)
    watcher.cancel()
    result = {
        "sessions": STALLED,
        "told": sum(bool(ear.errors) for ear in ears),
        "recovered": sum(any(at > until - 20 for at in ear.sounds) for ear in ears),
        "stall_healthy_p95_s": round(quantile(waits, 0.95), 3),
        "healthy_errors": healthy_ear.errors,
        "stall_loop_lag_max_ms": round(1000 * max(lags), 1),
        "loop_lag_p99_ms": round(1000 * quantile(lags, 0.99), 1),
    }
    for one in [*stalled, healthy]:
        one.close()
    await engine.close()
    return result


# ---- what is printed --------------------------------------------------------------------------------


def judge(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each limit that was measured, with its figure."""
    figures = {name: value for part in result.values() for name, value in part.items()}
    judged = {
        name: {"limit": limit, "figure": figures[name], "passed": figures[name] is not None and figures[name] <= limit}
        for name, limit in LIMITS.items()
        if name in figures
    }
    if "latency" in result:
        missing = len(result["latency"]["missing"])
        judged["sentences_not_heard"] = {"limit": 0, "figure": missing, "passed": not missing}
    if "stall" in result:
        for name in ("told", "recovered"):
            figure = result["stall"][name]
            judged[f"stalled_{name}"] = {"limit": STALLED, "figure": figure, "passed": figure == STALLED}
    return judged


def main(argv: list[str] | None = None) -> int:
    """Run; 0 only if every limit is met."""
    parser = argparse.ArgumentParser(prog="tools/bench-speech", description=__doc__)
    parts = ("words", "latency", "stall")
    for part in parts:
        parser.add_argument(f"--{part}", action="store_true", help=f"measure {part} only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(argv)
    wanted = [part for part in parts if getattr(given, part)] or list(parts)
    end_in_order()
    folder, result = scratch(), {}
    if "words" in wanted:
        result["words"] = measure_words(folder)
    if "latency" in wanted:
        result["latency"] = measure_latency(folder)
    if "stall" in wanted:
        result["stall"] = asyncio.run(measure_stall(folder))
    judged = judge(result)
    passed = all(one["passed"] for one in judged.values())
    if given.json:
        print(json.dumps(result | {"limits": judged, "passed": passed}))
    else:
        for part, figures in result.items():
            print(part)
            for name, figure in figures.items():
                print(f"  {name:<24} {figure}")
        print("limits")
        for name, one in judged.items():
            print(f"  {name:<24} {one['figure']!s:<10} limit {one['limit']:<8} {'' if one['passed'] else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
