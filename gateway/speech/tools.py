"""The tools of an `ai_agent`, as a session's creator describes them: shapes, bounds, and what the thinker is told.

Owns the description. Two spellings are taken: flat, and the nested one of chat endpoints (`{"type": "function",
"function": {…}, "webhook": {…}}`). Knows no HTTP and no session; running a tool is `toolbox.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.speech.stages import Tool

#: Octets of one tool's JSON schema.
SCHEMA_LIMIT: Final = 16_384
#: Names of the tools that need no webhook; nobody else's tool may be called so.
TRANSFER: Final = "transfer_to_human"
END_CALL: Final = "end_call"
_BUILT_IN: Final = {
    TRANSFER: "Connect the caller with a human, when they ask for one or you can not help them. Tell them first.",
    END_CALL: "Hang up, when the conversation is over and you have said goodbye.",
}
_NOTHING: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_ADDRESS: Final = r"^(sips?:[!-~]{1,250}|tel:\+?[0-9().-]{1,40}|\+[1-9][0-9]{1,14})$"
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


class ToolDefinition(BaseModel):
    """A tool. function: a webhook that is asked. transfer_to_human, end_call: done by the gateway.

    to: who is called or to whom the caller is referred. method: refer (the PBX connects the caller with `to` and the
    gateway is out), or dial (the gateway calls `to` into the session).
    """

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    type: Literal["function", "transfer_to_human", "end_call"] = "function"
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] | None = None
    description: Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=2000)] | None = None
    parameters: dict[str, Any] | None = None
    url: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2000)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 10.0
    to: Annotated[str, Field(pattern=_ADDRESS)] | None = None
    method: Literal["refer", "dial"] = "refer"

    @model_validator(mode="before")
    @classmethod
    def _unfold(cls, value: Any) -> Any:
        """The nested spelling, flat."""
        if not isinstance(value, dict):
            return value
        flat = {key: item for key, item in value.items() if key not in ("function", "webhook")}
        for key in ("function", "webhook"):
            if isinstance(value.get(key), dict):
                flat = {**value[key], **flat}
        return flat

    @field_validator("parameters")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            if value.get("type", "object") != "object":
                raise ValueError("must be a JSON schema of an object")
            if len(json.dumps(value)) > SCHEMA_LIMIT:
                raise ValueError(f"may have {SCHEMA_LIMIT} bytes at most")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "function":
            if self.name is None or self.url is None:
                raise ValueError("a function needs a name and the url of its webhook")
            if self.name in _BUILT_IN:
                raise ValueError(f"a function must not be called {self.name}")
        elif self.type == TRANSFER and self.to is None:
            raise ValueError("transfer_to_human needs `to`: a SIP URI or a telephone number")
        return self

    @property
    def called(self) -> str:
        """The name by which the thinker asks for it."""
        return self.name if self.type == "function" and self.name is not None else self.type

    def told(self) -> Tool:
        """What the thinker is told of it."""
        if self.type != "function":
            return Tool(self.type, self.description or _BUILT_IN[self.type], _NOTHING)
        schema = {"type": "object", "properties": {}} | (self.parameters or {})
        return Tool(self.called, self.description or "", schema)


def duplicate(tools: Sequence[ToolDefinition]) -> str | None:
    """A name that two of them share."""
    names = [tool.called for tool in tools]
    return next((name for name in names if names.count(name) > 1), None)


def arguments_of(text: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    """A thinker's arguments. Raises ValueError, in words that the thinker can act on: it gets them as the answer.

    Checked is what models get wrong: no JSON, no object, missing arguments, arguments of the wrong type.
    """
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the arguments are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the arguments must be a JSON object")
    schema = schema or {}
    required = schema.get("required")
    missing = [name for name in required if name not in found] if isinstance(required, list) else []
    if missing:
        raise ValueError(f"missing arguments: {', '.join(map(str, missing))}")
    properties = schema.get("properties")
    for name, value in found.items():
        expected = properties.get(name) if isinstance(properties, dict) else None
        kind = expected.get("type") if isinstance(expected, dict) else None
        if isinstance(kind, str) and kind in _TYPES and not _is(value, kind):
            raise ValueError(f"{name} must be of the type {kind}")
    return found


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":  # JSON's true is no number, Python's is
        return False
    return isinstance(value, _TYPES[kind])
