"""Markdown into passages that can be read to somebody: cut at headings and paragraphs, without the markup.

Owns what a passage is. Pure: knows no file and no index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Characters of a passage: what is read aloud in about half a minute. Longer paragraphs are cut at sentences.
LONGEST: Final = 480
#: Characters below which a paragraph is joined with the next under the same heading.
SHORT: Final = 160

_FENCE: Final = re.compile(r"\s{0,3}(```|~~~)")
_HEADING: Final = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE: Final = re.compile(r"\s{0,3}(=+|-+)\s*$")
_ITEM: Final = re.compile(r"\s*([-*+]|\d{1,4}[.)])\s+(\[[ xX]\]\s+)?")
_TABLE_RULE: Final = re.compile(r"\s*\|?[\s:|-]*-[\s:|-]*\|?\s*$")
_RULE: Final = re.compile(r"\s{0,3}([-*_])(\s*\1){2,}\s*$")
_DEFINITION: Final = re.compile(r"\s{0,3}\[[^\]]+\]:\s+\S")
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？])\s+")
_INLINE: Final = (
    (re.compile(r"!\[([^\]]{0,300})\](\([^)]{0,2000}\)|\[[^\]]{0,200}\])"), r"\1"),  # images
    (re.compile(r"\[([^\]]{1,300})\](\([^)]{0,2000}\)|\[[^\]]{0,200}\])"), r"\1"),  # links
    (re.compile(r"<(https?://[^>\s]{1,2000})>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^>]{0,500}>"), ""),  # HTML
    (re.compile(r"`+([^`]{1,500})`+"), r"\1"),
    (re.compile(r"(\*{1,3}|~~)(?=\S)(.{1,500}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=\S)(.{1,500}?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])"), r"\1"),
)


class Passage(NamedTuple):
    """source: the file's name within its folder. heading: those that stand above it, joined by ` › `."""

    source: str
    heading: str
    text: str

    @property
    def where(self) -> str:
        """For a transcript: `returns.md › Refunds`."""
        return f"{self.source} › {self.heading}" if self.heading else self.source


def passages(source: str, markdown: str) -> list[Passage]:
    """The passages of a document, in order. Code blocks, rules and link definitions are nothing to be read out."""
    found: list[Passage] = []
    for heading, paragraphs in _sections(markdown):
        waiting = ""
        for paragraph in paragraphs:
            waiting = f"{waiting} {paragraph}".strip()
            if len(waiting) >= SHORT:
                found += (Passage(source, heading, piece) for piece in _cut(waiting))
                waiting = ""
        if waiting:
            found += (Passage(source, heading, piece) for piece in _cut(waiting))
    return found


def plain(text: str) -> str:
    """Inline markup taken off; the words stay."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _sections(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Headings and the paragraphs below them. A list item and a table row are sentences of a paragraph."""
    path: list[tuple[int, str]] = []
    paragraphs: list[str] = []
    lines: list[str] = []

    def end_paragraph() -> None:
        text = plain(" ".join(lines))
        if text:
            paragraphs.append(text)
        lines.clear()

    def end_section() -> tuple[str, list[str]]:
        end_paragraph()
        section = (" › ".join(title for _, title in path), paragraphs[:])
        paragraphs.clear()
        return section

    fence = ""
    for line in _without_front_matter(markdown.splitlines()):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
                end_paragraph()
            elif line.strip().startswith(fence):
                fence = ""
            continue
        if fence:
            continue
        level, title = _heading(line, lines)
        if level:
            yield end_section()
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, plain(title)))
        elif not line.strip() or _RULE.match(line) or _DEFINITION.match(line):
            end_paragraph()
        elif not _TABLE_RULE.match(line):
            lines.append(_sentence(line))
    yield end_section()


def _heading(line: str, before: list[str]) -> tuple[int, str]:
    """Level and title, 0 when the line is no heading. A heading underlined takes its title out of `before`."""
    if match := _HEADING.match(line):
        return len(match[1]), match[2]
    if len(before) == 1 and (match := _UNDERLINE.match(line)):
        return (1 if match[1][0] == "=" else 2), before.pop()
    return 0, ""


def _sentence(line: str) -> str:
    """A line of a paragraph, of a list or of a table, as something that can be said."""
    stripped = line.strip().lstrip(">").strip()
    if stripped.startswith("|"):
        return ", ".join(cell.strip() for cell in stripped.strip("|").split("|") if cell.strip()) + "."
    item = _ITEM.match(stripped)
    if item is None:
        return stripped
    said = stripped[item.end() :]
    return said if said.endswith((".", "!", "?", ":", ";", ",")) else said + "."


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most LONGEST characters, at ends of sentences where there are some."""
    piece = ""
    for sentence in _SENTENCE.split(text):
        if piece and len(piece) + 1 + len(sentence) > LONGEST:
            yield piece
            piece = ""
        piece = f"{piece} {sentence}".strip()
        while len(piece) > LONGEST:
            at = piece.rfind(" ", 1, LONGEST)
            at = LONGEST if at < 0 else at
            yield piece[:at]
            piece = piece[at:].strip()
    if piece:
        yield piece


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].strip() == "---":
        for number, line in enumerate(lines[1:], 1):
            if line.strip() in ("---", "..."):
                return lines[number + 1 :]
    return lines
