"""What the REST API takes and gives, as pydantic models: the contract's §1 as types and as OpenAPI.

Owns shapes and bounds. Request models validate in strict mode (a number is not a string); fields that are
not listed are ignored, so that a client of a newer API still works. Response models are documentation that
the tests hold the answers against; answers are built in `views.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gateway.speech.tools import ToolDefinition, duplicate

MODES: Final = ("bidirectional_translation", "assistive_translation", "ai_agent", "help_chat_voice")
Mode = Literal["bidirectional_translation", "assistive_translation", "ai_agent", "help_chat_voice"]

_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT: Final = "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}"
_HEX: Final = "[0-9A-Fa-f]{1,4}"
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#: RFC 4291 §2.2: whole, shortened at any one place, or with an IPv4 address behind ::ffff:.
_IPV6: Final = "|".join(
    [f"({_HEX}:){{7}}{_HEX}", f"({_HEX}:){{1,7}}:", f":((:{_HEX}){{1,7}}|:)", rf"::[Ff]{{4}}:{_OCTET}(\.{_OCTET}){{3}}"]
    + [f"({_HEX}:){{1,{7 - n}}}(:{_HEX}){{1,{n}}}" for n in range(1, 7)]
)
#: A name, an IPv4 address or an IPv6 address in brackets; nothing that two parsers would read in two ways.
_WEB_URL: Final = rf"^https?://({_LABEL}(\.{_LABEL}){{0,10}}|\[({_IPV6})\])(:({_PORT}))?([/?#][!-~]{{0,1700}})?$"

#: pydantic states the pattern of an object's names, and not that there are no others.
_CLOSED: Final = {"additionalProperties": False}

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", examples=["en", "es-MX"])]
PhoneNumber = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{1,14}$", examples=["+15551234567"])]
ConnectionId = Annotated[str, Field(pattern=r"^pcon_[0-9A-Za-z]{1,34}$", examples=["pcon_01J8ZQ5E4T"])]
SpeakerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", examples=["agent", "customer"])]
SipUri = Annotated[str, Field(pattern=r"^sips?:[!-~]{1,250}$", examples=["sip:100@pbx.example.com"])]
HeaderName = Annotated[str, Field(pattern=r"^[Xx]-[A-Za-z0-9-]{1,60}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{0,500}$")]
WebUrl = Annotated[str, Field(pattern=_WEB_URL, max_length=2000, examples=["https://example.com/hook"])]


def _whole(value: object) -> object:
    """JSON knows one kind of number: 30.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class SipRouting(Request):
    from_uri: SipUri | None = None
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=20, json_schema_extra=_CLOSED)] | None = None


class Routing(Request):
    """How calls reach the session. The first that is given counts: connection_id, type, phone_number."""

    type: Literal["sip"] | None = None
    sip: SipRouting | None = None
    connection_id: ConnectionId | None = None
    phone_number: PhoneNumber | None = None
    direction: Literal["inbound", "outbound"] | None = None


class OlderProvider(Request):
    """The older create shape; answered with `Deprecation: true`."""

    type: Literal["sip", "twilio", "telnyx"]
    phone_number: PhoneNumber
    call_sid: Annotated[Text, Field(max_length=100)] | None = None
    transport: Annotated[Text, Field(max_length=40)] | None = None
    codecs: Annotated[list[Annotated[Text, Field(max_length=40)]], Field(max_length=20)] | None = None


class Participant(Request):
    type: SpeakerName
    language: Language | None = None


#: What `ToolDefinition` asks of the values of several fields at once, for readers of the OpenAPI document.
_COMPLETE_TOOL: Final[dict[str, Any]] = {
    "anyOf": [
        {
            "required": ["name", "url"],
            "properties": {
                "type": {"const": "function"},
                "name": {"type": "string", "not": {"enum": ["transfer_to_human", "end_call"]}},
                "url": {"type": "string"},
            },
        },
        {
            "required": ["type", "to"],
            "properties": {"type": {"const": "transfer_to_human"}, "to": {"type": "string"}},
        },
        {"required": ["type"], "properties": {"type": {"const": "end_call"}}},
    ],
    "properties": {
        "parameters": {"properties": {"type": {"const": "object"}}},
        "url": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": _WEB_URL}]},
    },
}


def _unambiguous(tool: ToolDefinition) -> ToolDefinition:
    if tool.url is not None and re.fullmatch(_WEB_URL, tool.url) is None:
        raise ValueError("url is no http:// or https:// address that a webhook can go to")
    return tool


AgentTool = Annotated[ToolDefinition, AfterValidator(_unambiguous), Field(json_schema_extra=_COMPLETE_TOOL)]


class AiAgent(Request):
    system_prompt: Annotated[Text, Field(min_length=1, max_length=20_000)]
    greeting: Annotated[Text, Field(max_length=2_000)] | None = None
    voice: Annotated[Text, Field(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tools: Annotated[list[AgentTool], Field(max_length=64)] | None = None

    @field_validator("tools")
    @classmethod
    def _named_apart(cls, value: list[ToolDefinition] | None) -> list[ToolDefinition] | None:
        if value and (name := duplicate(value)) is not None:
            raise ValueError(f"two tools are called {name}")
        return value


class Recording(Request):
    enabled: bool = False
    channels: Literal["dual", "mixed"] = "dual"


class Transcription(Request):
    enabled: bool = True
    partials: bool = True


class SessionCreate(Request):
    """A session to be. source_language: party A, the customer; target_language: party B, the agent."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"mode": {"enum": [mode for mode in MODES if mode != "ai_agent"]}}},
                {"required": ["ai_agent"], "properties": {"ai_agent": {"type": "object"}}},
            ]
        }
    )

    mode: Mode
    source_language: Language | None = None
    target_language: Language | None = None
    routing: Routing | None = None
    provider: OlderProvider | None = None
    participants: Annotated[list[Participant], Field(max_length=16)] | None = None
    ai_agent: AiAgent | None = None
    recording: Recording | None = None
    transcription: Transcription | None = None
    webhook_url: WebUrl | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=500)]], Field(max_length=50)] | None = None

    @model_validator(mode="after")
    def _agent_described(self) -> Self:
        if self.mode == "ai_agent" and self.ai_agent is None:
            # `problem` in validation.py knows this text: the field is missing, not the whole body wrong.
            raise ValueError("ai_agent")
        return self


class SessionEnd(Request):
    reason: Annotated[Text, Field(max_length=200)] | None = None


class Dial(Request):
    """Whom to call. to: a number or `sip:user@host` that a trunk leads to; trunk: by name (extension)."""

    model_config = ConfigDict(populate_by_name=True)

    to: Annotated[str, Field(pattern=r"^[!-~]{1,256}$", examples=["+15551234567", "sip:200@pbx.example.com"])]
    speaker: SpeakerName | None = None
    from_: Annotated[str, Field(pattern=r"^[!-~]{1,256}$", examples=["+15557654321"])] | None = Field(
        None, alias="from"
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=600), BeforeValidator(_whole)] | None = None
    trunk: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")] | None = None


class Transfer(Request):
    to: Annotated[str, Field(pattern=r"^(sips?|tel):[!-~]{1,250}$", examples=["sip:300@pbx.example.com"])]


class StreamView(BaseModel):
    url: str
    token: str
    expires_at: str


class CallView(BaseModel):
    id: str
    status: str
    direction: str
    sip_call_id: str | None


class ParticipantView(BaseModel):
    type: str
    language: str | None = None


class RecordingView(BaseModel):
    enabled: bool
    channels: Literal["dual", "mixed"]


class TranscriptState(BaseModel):
    available: bool
    word_count: int


class Usage(BaseModel):
    active_seconds: float
    translation_seconds: float
    ai_agent_seconds: float


class OlderProviderView(BaseModel):
    type: str
    phone_number: str
    call_sid: str | None = None
    transport: str | None = None
    codecs: list[str] | None = None


class SessionView(BaseModel):
    """A session. `stream` is there until it has ended."""

    id: str
    object: Literal["session"]
    status: Literal["created", "connecting", "active", "ending", "ended"]
    mode: Mode
    provider: Literal["sip", "twilio", "telnyx"] | OlderProviderView | None
    phone_number: str | None
    source_language: str | None
    target_language: str | None
    stream: StreamView | None = None
    call: CallView | None
    participants: list[ParticipantView]
    recording: RecordingView
    transcript: TranscriptState
    metadata: dict[str, str]
    duration: float
    usage: Usage
    created_at: str
    started_at: str | None
    ended_at: str | None
    end_reason: str | None


class SessionSummary(BaseModel):
    id: str
    object: Literal["session"]
    status: Literal["ended"]
    duration_seconds: float
    ended_at: str


class TranslationView(BaseModel):
    language: str
    text: str


class TurnView(BaseModel):
    sequence: int
    speaker: str
    language: str
    text: str
    translation: TranslationView | None = None
    confidence: float
    timestamp: str
    start_ms: int
    end_ms: int
    metadata: dict[str, Any] | None = None


class TranscriptMetadata(BaseModel):
    total_turns: int
    duration_seconds: float
    languages_detected: list[str]


class TranscriptView(BaseModel):
    id: str
    object: Literal["transcript"]
    session_id: str
    status: Literal["in_progress", "completed"]
    turns: list[TurnView]
    metadata: TranscriptMetadata


class RecordingItem(BaseModel):
    id: str
    object: Literal["recording"]
    session_id: str
    channel: Literal["mixed", "dual", "agent", "customer"]
    duration: float
    format: Literal["wav"]
    size: int
    status: Literal["processing", "ready", "failed"]
    created_at: str
    download_url: str


class RecordingList(BaseModel):
    object: Literal["list"]
    data: list[RecordingItem]


class TranslationAbility(BaseModel):
    """Codes; `*`: any."""

    model_config = ConfigDict(populate_by_name=True)

    to: list[str]
    from_: list[str] = Field(alias="from")


class LanguageView(BaseModel):
    """What can be done with a language. Lists are of engines, the preferred first."""

    code: str
    name: str
    native_name: str
    recognition: list[str]
    translation: TranslationAbility
    synthesis: list[str]
    thinking: list[str]
    detection: Literal["speech", "text"] | None


class LanguageList(BaseModel):
    object: Literal["list"]
    data: list[LanguageView]


class Timeline(BaseModel):
    """What happened when. Each event has `at_ms`, `type` and what belongs to it."""

    session_id: str
    sample_rate_hz: int
    duration_ms: int
    tracks: list[str]
    events: list[dict[str, Any]]


class CallSummary(BaseModel):
    id: str
    object: Literal["call"]
    session_id: str
    status: Literal["ending", "transferring"]


class CallObject(BaseModel):
    """A call that was placed. speaker: "" while that is not settled."""

    id: str
    object: Literal["call"]
    session_id: str
    status: Literal["dialing", "ringing", "active"]
    direction: Literal["outbound"]
    sip_call_id: str
    speaker: str
    to: str


class ErrorBody(BaseModel):
    type: str
    code: str
    message: str
    param: str | None = None
    request_id: str
    retry_after: int | None = None


class ErrorView(BaseModel):
    """The error envelope. Fields that do not apply are left out."""

    error: ErrorBody
