"""Transcripts: turns as they are finished, and their four renderings.

Owns the transcript's tables' queries and formats. Where turns come from is `live.py`'s.
"""

from __future__ import annotations

import html
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from gateway.sessions.models import sessions, transcript_turns
from gateway.sessions.store import Session
from gateway.sessions.views import active_seconds, iso

FORMATS: Final = ("json", "text", "srt", "vtt")


class Turn(msgspec.Struct):
    """A finished turn. start_ms, end_ms: on the speaker's media clock. created_at: Unix seconds.

    metadata: what else is to be said of it, like the documents that an answer comes from.
    """

    segment_id: str
    speaker: str
    language: str
    text: str
    confidence: float
    start_ms: int
    end_ms: int
    created_at: float
    translation_language: str | None = None
    translation_text: str | None = None
    sequence: int = 0
    metadata: dict[str, Any] | None = None


_COLUMNS: Final = tuple(transcript_turns.c[name] for name in Turn.__struct_fields__)


def words(text: str) -> int:
    """As a reader would count: by white space, and by character where a script has none (CJK, kana, Thai)."""
    count = 0
    for word in text.split():
        unspaced = sum(1 for c in word if "\u0e00" <= c <= "\u0eff" or "\u3040" <= c <= "\u9fff")
        count += unspaced + (1 if unspaced < len(word) else 0)
    return count


def _storable(text: str | None) -> str | None:
    """Without NUL, which an engine may say and PostgreSQL can not store."""
    return None if text is None else text.replace("\0", "")


def add(connection: Connection, session_id: str, turn: Turn) -> Turn:
    """Store the next turn; returns it with its number."""
    last = select(func.max(transcript_turns.c.sequence)).where(transcript_turns.c.session_id == session_id)
    numbered = msgspec.structs.replace(turn, sequence=(connection.execute(last).scalar() or 0) + 1)
    values = msgspec.structs.asdict(numbered)
    values |= {name: _storable(values[name]) for name in ("segment_id", "text", "translation_text")}
    values["metadata"] = None if turn.metadata is None else msgspec.json.encode(turn.metadata).decode()
    connection.execute(insert(transcript_turns).values(session_id=session_id, **values))
    connection.execute(
        update(sessions).where(sessions.c.id == session_id).values(word_count=sessions.c.word_count + words(turn.text))
    )
    return numbered


def amend(
    connection: Connection,
    session_id: str,
    segment_id: str,
    translation: tuple[str, str] | None,
    metadata: dict[str, Any],
) -> Turn | None:
    """What became of a turn that is stored. Returns it as it is now; None: there is no such turn."""
    where = (transcript_turns.c.session_id == session_id, transcript_turns.c.segment_id == segment_id)
    values: dict[str, Any] = {"metadata": msgspec.json.encode(metadata).decode()}
    if translation is not None:
        values["translation_language"], values["translation_text"] = translation[0], _storable(translation[1])
    connection.execute(update(transcript_turns).where(*where).values(**values))
    row = connection.execute(select(*_COLUMNS).where(*where)).first()
    return None if row is None else msgspec.structs.replace(Turn(**row._mapping), metadata=metadata)


def load(connection: Connection, session_id: str) -> list[Turn]:
    query = select(*_COLUMNS).where(transcript_turns.c.session_id == session_id)
    rows = connection.execute(query.order_by(transcript_turns.c.sequence))
    turns = [Turn(**row._mapping) for row in rows]
    for turn in turns:
        if isinstance(turn.metadata, str):
            turn.metadata = msgspec.json.decode(turn.metadata)
    return turns


def transcript_id(session_id: str) -> str:
    """One transcript a session: it shares the session's number."""
    return "trn_" + session_id.removeprefix("sess_")


def turn_view(turn: Turn) -> dict[str, Any]:
    view: dict[str, Any] = {
        "sequence": turn.sequence,
        "speaker": turn.speaker,
        "language": turn.language,
        "text": turn.text,
        "confidence": turn.confidence,
        "timestamp": iso(turn.created_at),
        "start_ms": turn.start_ms,
        "end_ms": turn.end_ms,
    }
    if turn.translation_text is not None:
        view["translation"] = {"language": turn.translation_language, "text": turn.translation_text}
    if turn.metadata is not None:
        view["metadata"] = turn.metadata
    return view


def transcript_view(session: Session, turns: list[Turn], now: float) -> dict[str, Any]:
    """The JSON rendering."""
    return {
        "id": transcript_id(session.id),
        "object": "transcript",
        "session_id": session.id,
        "status": "completed" if session.status == "ended" else "in_progress",
        "turns": [turn_view(turn) for turn in turns],
        "metadata": {
            "total_turns": len(turns),
            "duration_seconds": round(active_seconds(session, now), 3),
            "languages_detected": sorted({turn.language for turn in turns}),
        },
    }


def as_text(turns: list[Turn]) -> str:
    """One line a turn, its translation indented below."""
    lines = []
    for turn in turns:
        lines.append(f"{turn.speaker}: {_line(turn.text)}")
        if turn.translation_text is not None:
            lines.append(f"    [{turn.translation_language}] {_line(turn.translation_text)}")
    return "".join(line + "\n" for line in lines)


def as_srt(turns: list[Turn]) -> str:
    """SubRip. Blank lines end a cue, so none may be within one."""
    return "".join(
        f"{number}\n{_clock(turn.start_ms, ',')} --> {_clock(_end(turn), ',')}\n{_cue(turn)}\n\n"
        for number, turn in enumerate(turns, 1)
    )


def as_vtt(turns: list[Turn]) -> str:
    """WebVTT with voice spans."""
    cues = []
    for turn in turns:
        spoken = f"<v {html.escape(_line(turn.speaker))}>{html.escape(_line(turn.text), quote=False)}</v>"
        if turn.translation_text is not None:
            spoken += f"\n<i>{html.escape(_line(turn.translation_text), quote=False)}</i>"
        cues.append(f"{_clock(turn.start_ms, '.')} --> {_clock(_end(turn), '.')}\n{spoken}\n\n")
    return "WEBVTT\n\n" + "".join(cues)


def _cue(turn: Turn) -> str:
    spoken = f"{turn.speaker}: {_line(turn.text)}"
    return spoken if turn.translation_text is None else f"{spoken}\n{_line(turn.translation_text)}"


def _line(text: str) -> str:
    """On one line, and never the arrow that would begin a cue's times."""
    return " ".join(text.split()).replace("-->", "->")


def _end(turn: Turn) -> int:
    return max(turn.end_ms, turn.start_ms + 1)


def _clock(ms: int, comma: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{comma}{ms:03}"
