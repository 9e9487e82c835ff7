"""gateway/speech/library.py"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.speech import library as module
from gateway.speech.library import Bounds, Library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "returns.md").write_text("# Returns\nRefunds take five days.")
    (tmp_path / "shop" / "hours.markdown").write_text("We open at nine.")
    (tmp_path / "notes.txt").write_text("Refunds are secret.")
    (tmp_path / ".hidden.md").write_text("Refunds are hidden.")
    return tmp_path


def sources(library: Library, question: str) -> list[str]:
    return [hit.passage.source for hit in library.search(question)]


def test_markdown_below_the_folder_is_found(folder: Path) -> None:
    library = Library(folder)
    assert library.refresh() == 2
    assert library.refresh() == 0
    assert (library.documents, library.passages) == (2, 2)
    assert "five days" in library.sample()
    assert sources(library, "refund") == ["returns.md"]
    assert sources(library, "when do you open") == ["shop/hours.markdown"]


def test_changes_are_followed(folder: Path) -> None:
    library = Library(folder)
    library.refresh()
    (folder / "returns.md").write_text("# Returns\nReplacements only.")
    (folder / "new.md").write_text("Gift cards last two years.")
    (folder / "shop" / "hours.markdown").unlink()
    assert library.refresh() == 3
    assert sources(library, "refund") == []
    assert sources(library, "replacements") == ["returns.md"]
    assert sources(library, "gift") == ["new.md"]
    assert sources(library, "open") == []


def test_only_what_has_changed_is_read_again(folder: Path) -> None:
    library = Library(folder)
    library.refresh()
    status = (folder / "returns.md").stat()
    (folder / "returns.md").write_text("# Returns\nREFUNDS take five days.")
    os.utime(folder / "returns.md", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert library.refresh() == 1


def test_what_is_beyond_the_bounds_is_left_out(folder: Path) -> None:
    (folder / "zz.md").write_text("z" * 200)
    assert Library(folder, Bounds(files=1)).refresh() == 1
    large = Library(folder, Bounds(file_octets=100))
    assert large.refresh() == 2
    assert large.left_out == {"zz.md": "larger than 100 bytes"}
    total = Library(folder, Bounds(octets=40))
    total.refresh()
    assert set(total.left_out) == {"shop/hours.markdown", "zz.md"}


def test_a_folder_that_is_not_there_is_empty_until_it_comes(tmp_path: Path) -> None:
    library = Library(tmp_path / "later")
    assert library.refresh() == 0
    assert library.left_out
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.md").write_text("Now it is here.")
    assert library.refresh() == 1
    assert library.left_out == {}


def test_bad_octets_and_dangling_links_harm_nobody(folder: Path) -> None:
    (folder / "bad.md").write_bytes(b"\xff\xfe refunds \x00")
    (folder / "gone.md").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder)
    library = Library(folder)
    assert library.refresh() == 3
    assert list(library.left_out) == [str(folder / "gone.md")]


def test_run_keeps_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)

    async def main() -> None:
        library = Library(folder)
        running = asyncio.create_task(library.run())
        await until_found(library, "refund")
        (folder / "gifts.md").write_text("Gift cards.")
        await until_found(library, "gift")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


async def until_found(library: Library, question: str) -> None:
    async with asyncio.timeout(10):
        while not await library.ask(question):  # noqa: ASYNC110  (the folder tells nobody)
            await asyncio.sleep(0.01)
