"""A folder of Markdown documents that can be asked: what is in it now, kept up to date while it changes.

Owns the folder, its bounds and the index's lock. `refresh` and `search` read files and compute, so they are for
worker threads; `run` and `ask` do that for code on the event loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from gateway.speech.index import Hit, Index
from gateway.speech.passages import passages

_log = structlog.get_logger(__name__)

SUFFIXES: Final = (".md", ".markdown")
#: How often the folder is looked at.
EVERY_S: Final = 5.0


class Bounds(NamedTuple):
    """What is read of a folder at most; what is beyond is left out and logged."""

    files: int = 2000
    file_octets: int = 1 << 20
    octets: int = 32 << 20


_BOUNDS: Final = Bounds()


class _Seen(NamedTuple):
    modified_ns: int
    octets: int
    inode: int


class Library:
    """The documents below a folder."""

    def __init__(self, folder: Path, bounds: Bounds = _BOUNDS) -> None:
        self.folder = folder
        self.left_out: dict[str, str] = {}  #: documents that are not searched, and why
        self._bounds = bounds
        self._index = Index()
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    @property
    def documents(self) -> int:
        return len(self._seen)

    @property
    def passages(self) -> int:
        return len(self._index)

    def sample(self) -> str:
        """Some of the documents' text."""
        with self._lock:
            return self._index.sample()

    # ---- on the event loop -------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep up with the folder until cancelled."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(EVERY_S)

    async def ask(self, question: str, limit: int = 4) -> list[Hit]:
        """The passages that fit a question best."""
        return await asyncio.to_thread(self.search, question, limit)

    # ---- in a worker thread ------------------------------------------------------------------------

    def search(self, question: str, limit: int = 4) -> list[Hit]:
        with self._lock:
            return self._index.search(question, limit)

    def refresh(self) -> int:
        """Read what has changed. Returns how many documents were put in or taken out."""
        with self._refreshing:
            found, left_out = self._look()
            changes = 0
            for name in self._seen.keys() - found.keys():
                with self._lock:
                    self._index.remove(name)
                del self._seen[name]
                changes += 1
            for name, seen in found.items():
                if self._seen.get(name) == seen:
                    continue
                try:
                    text = self._read(name)
                except OSError as error:
                    left_out[name] = error.strerror or type(error).__name__
                    continue
                parsed = passages(name, text)
                with self._lock:  # held for one document, so that a question never waits for the whole folder
                    self._index.put(name, parsed)
                self._seen[name] = seen
                changes += 1
            for name, reason in left_out.items():
                if self.left_out.get(name) != reason:
                    _log.warning("document_left_out", document=name, reason=reason)
            self.left_out = left_out
            if changes:
                _log.info("documents_read", changed=changes, documents=self.documents, passages=self.passages)
            return changes

    def _look(self) -> tuple[dict[str, _Seen], dict[str, str]]:
        """The documents that there are, within the bounds, and those beyond."""
        found: dict[str, _Seen] = {}
        left_out: dict[str, str] = {}
        total = 0
        for name, status in self._files(left_out):
            if status.st_size > self._bounds.file_octets:
                left_out[name] = f"larger than {self._bounds.file_octets} bytes"
            elif len(found) >= self._bounds.files:
                left_out[name] = f"more than {self._bounds.files} documents"
            elif total + status.st_size > self._bounds.octets:
                left_out[name] = f"more than {self._bounds.octets} bytes in all"
            else:
                total += status.st_size
                found[name] = _Seen(status.st_mtime_ns, status.st_size, status.st_ino)
        return found, left_out

    def _files(self, left_out: dict[str, str]) -> Iterator[tuple[str, os.stat_result]]:
        """Names relative to the folder, in order. Links to folders are not followed: they may lead in a circle."""

        def trouble(error: OSError) -> None:
            left_out[str(error.filename)] = error.strerror or type(error).__name__

        for here, folders, files in os.walk(self.folder, onerror=trouble):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                if file.startswith(".") or not file.lower().endswith(SUFFIXES):
                    continue
                path = Path(here, file)
                try:
                    yield path.relative_to(self.folder).as_posix(), path.stat()
                except OSError as error:
                    trouble(error)

    def _read(self, name: str) -> str:
        with (self.folder / name).open("rb") as file:
            return file.read(self._bounds.file_octets).decode("utf-8-sig", "replace")
