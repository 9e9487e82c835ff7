"""Translation by Debian's apertium, in whatever pairs are installed.

Owns the pairs, the text's way into apertium's stream format and back, and one long-lived pipeline of processes a pair:
started when first wanted, with null flush (`-z`), so that a clause costs milliseconds and not the loading of
dictionaries; killed and started anew when it dies or does not answer. Knows no session.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.speech.stages import EngineFault, Stage, serves

_log = structlog.get_logger(__name__)

MODES: Final = Path("/usr/share/apertium/modes")
#: A clause that takes longer than this is given up, and the pipeline with it.
PATIENCE_S: Final = 5.0
#: Clauses that wait for one pipeline; some hundred milliseconds of work.
WAITING: Final = 32
#: Characters of a clause.
LONGEST: Final = 4000
_LIMIT: Final = 256 * 1024

#: ISO 639-3, as modes are named, to the codes of sessions (BCP 47 takes the shortest).
_NAMES: Final = (
    "afr:af ara:ar arg:an ast:ast bel:be ben:bn bre:br bul:bg cat:ca ces:cs cym:cy dan:da deu:de ell:el eng:en "
    "epo:eo est:et eus:eu fin:fi fra:fr gle:ga glg:gl hbs:sh heb:he hin:hi hrv:hr hun:hu ina:ia ind:id isl:is "
    "ita:it jpn:ja kat:ka kaz:kk lav:lv lit:lt mkd:mk mlt:mt msa:ms nld:nl nno:nn nob:nb oci:oc pol:pl por:pt "
    "ron:ro rus:ru slk:sk slv:sl spa:es sqi:sq srd:sc srp:sr swe:sv tat:tt tur:tr ukr:uk urd:ur zho:zh"
)
_CODES: Final[dict[str, str]] = {long: short for long, _, short in (pair.partition(":") for pair in _NAMES.split())}
_MODE: Final = re.compile(r"([a-z]{2,3})(?:_[A-Za-z]+)?-([a-z]{2,3})")
#: What apertium's stream format gives a meaning (deformatters escape these).
_SPECIAL: Final = re.compile(r"[\[\]{}^$/\\@<>]")


def pairs_in(modes: Path) -> dict[tuple[str, str], Path]:
    """The installed pairs, (from, to), with their mode files. Modes of a regional variant are left out."""
    found = {}
    for path in sorted(modes.glob("*.mode")):
        match = _MODE.fullmatch(path.stem)
        if match:
            source, target = (_CODES.get(code, code) for code in match.groups())
            found[source, target] = path
    return found


def command_of(mode: str) -> str:
    """A mode's shell pipeline with null flush in every program. `$1`, `$2`: what the mode leaves open."""
    lines = [line for line in mode.splitlines() if line.strip() and not line.startswith("#")]
    programs = " ".join(lines).split("|")
    return " | ".join(re.sub(r"^(\S+)", r"\1 -z", program.strip()) for program in programs)


def escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.replace("\0", " ").split()))


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.replace("[]", ""))


class _Pipeline:
    """One pair's processes."""

    def __init__(self, mode: Path) -> None:
        self._command = command_of(mode.read_text())
        self._process: asyncio.subprocess.Process | None = None
        self._last: asyncio.subprocess.Process | None = None  # that was killed
        self._turn = asyncio.Lock()
        self.waiting = 0
        self.starts = 0

    async def translate(self, text: str) -> str:
        """Raises OSError, EOFError, TimeoutError; whatever happens, the next clause finds a pipeline in order."""
        self.waiting += 1
        try:
            async with self._turn:
                answered = False
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        process = await self._started()
                        assert process.stdin is not None
                        assert process.stdout is not None
                        # A sentence that does not end would wait for its end: the dot is taken back.
                        dot = "" if text[-1:] in ".?!…" else "."
                        process.stdin.write(f"{escaped(text)}{dot}[]\0".encode())
                        await process.stdin.drain()
                        answer = await process.stdout.readuntil(b"\0")
                    answered = True
                finally:
                    if not answered:  # cancelled too: the answer to this clause must not become the next one's
                        self.kill()
                out = " ".join(unescaped(answer[:-1].decode("utf-8", "replace")).split())
                return out.removesuffix(dot) if dot else out
        finally:
            self.waiting -= 1

    def kill(self) -> None:
        """The whole group: the shell and what it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        self._last = process

    async def close(self) -> None:
        self.kill()
        if self._last is not None:  # else its pipes outlive the event loop
            await self._last.communicate()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self.starts += 1
            self._process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", "trap '' INT; " + self._command, "apertium", "-n", ""),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                limit=_LIMIT,
            )
        return self._process


class ApertiumTranslator:
    """The installed pairs. `start` raises EngineFault when there is none."""

    def __init__(self, engine: str, modes: Path = MODES) -> None:
        self.engine = engine
        self.pairs: frozenset[tuple[str, str]] = frozenset()
        self._modes = modes
        self._files: dict[tuple[str, str], Path] = {}
        self._pipelines: dict[tuple[str, str], _Pipeline] = {}

    async def start(self) -> None:
        self._files = pairs_in(self._modes)
        if not self._files or shutil.which("lt-proc") is None:
            raise EngineFault(Stage.TRANSLATION, self.engine, "no apertium pair is installed", retryable=False)
        self.pairs = frozenset(self._files)

    async def close(self) -> None:
        for pipeline in self._pipelines.values():
            await pipeline.close()

    async def translate(
        self, text: str, source: str, target: str, *, context: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """The whole clause at once. context is of no use to apertium."""
        pair = next((p for p in sorted(self.pairs) if serves((p[0],), source) and serves((p[1],), target)), None)
        if pair is None:
            raise self._fault(f"the pair {source}→{target} is not installed", retryable=False)
        if pair not in self._pipelines:
            self._pipelines[pair] = _Pipeline(self._files[pair])
        pipeline = self._pipelines[pair]
        if pipeline.waiting >= WAITING:
            raise self._fault(f"{WAITING} clauses wait already", retryable=True)
        if not text.strip():
            return
        try:
            yield await pipeline.translate(text[:LONGEST])
        except TimeoutError:
            raise self._fault(f"no answer in {PATIENCE_S:.0f} s", retryable=True) from None
        except (OSError, EOFError) as error:
            _log.warning("apertium_died", pair=pair, error=str(error))
            raise self._fault("the pipeline has died", retryable=True) from None

    async def warm(self, source: str, target: str) -> None:
        """Load a pair before it is needed."""
        async for _ in self.translate("1", source, target):
            pass

    def _fault(self, why: str, *, retryable: bool) -> EngineFault:
        return EngineFault(Stage.TRANSLATION, self.engine, why, retryable=retryable)
