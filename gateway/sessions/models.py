"""The tables. Owns names, types and constraints of what is stored; no query and no rule of the contract.

Times are Unix seconds as double precision. JSON is text that msgspec wrote, the same on SQLite and
PostgreSQL (whose jsonb would refuse an escaped NUL that a client may legally send).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Installation-wide values, such as the secret that signs stream tokens.
settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("credits_limit", BigInteger),  # NULL: unlimited
    Column("credits_used", BigInteger, nullable=False),
    Column("rate_limit", Integer, nullable=False),  # requests per minute
    Column("webhook_url", Text),
    Column("webhook_secret", Text),
    Column("created_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key, hexadecimal
    Column("hint", String(24), nullable=False),  # its first characters, for people
    Column("scope", String(16), nullable=False),  # write | read
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)

#: Telephone connections that `routing.connection_id` and `routing.phone_number` resolve to.
connections = Table(
    "connections",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("provider", String(16), nullable=False),  # sip | twilio | telnyx
    Column("phone_number", String(16)),
    Column("is_default", Boolean, nullable=False),
    Index(None, "organization_id", "phone_number"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False),
    Column("node", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("mode", String(40), nullable=False),
    Column("source_language", String(40)),
    Column("target_language", String(40)),
    Column("phone_number", String(16)),
    Column("provider", Text, nullable=False),  # JSON: string, null, or the older object
    Column("options", Text, nullable=False),  # JSON: routing, participants, ai_agent, recording, transcription
    Column("webhook_url", Text),
    Column("metadata", Text, nullable=False),  # JSON object of strings
    Column("call", Text),  # JSON: the call object
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("end_reason", Text),
    Column("active_at", Double, nullable=False),  # last sign of life, for the timeouts across a restart
    Column("translation_seconds", Double, nullable=False),
    Column("ai_agent_seconds", Double, nullable=False),
    Column("word_count", Integer, nullable=False, server_default="0"),
    Column("end_requested", Text),  # another node asks this session's node to end it; the reason
    Index(None, "organization_id", "created_at"),
    Index(None, "status", "node"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("organization_id", String(40), primary_key=True),
    Column("route", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),  # of the request body
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),  # JSON: what the response carries beyond the usual
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
)

transcript_turns = Table(
    "transcript_turns",
    metadata,
    Column("session_id", String(40), ForeignKey("sessions.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),  # 1, 2, 3 … as they were finished
    Column("segment_id", String(80), nullable=False),
    Column("speaker", String(64), nullable=False),
    Column("language", String(40), nullable=False),
    Column("text", Text, nullable=False),
    Column("translation_language", String(40)),
    Column("translation_text", Text),
    Column("confidence", Double, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("metadata", Text),  # JSON object
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("session_id", String(40), ForeignKey("sessions.id"), nullable=False, index=True),
    Column("organization_id", String(40), nullable=False),
    Column("channel", String(16), nullable=False),  # mixed | dual | agent | customer
    Column("status", String(16), nullable=False),  # processing | ready | failed
    Column("duration", Double, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
)

#: Webhook deliveries, stored with what they tell of, before they are sent.
deliveries = Table(
    "deliveries",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("event_id", String(40), nullable=False),
    Column("organization_id", String(40), nullable=False),
    Column("session_id", String(40), nullable=False),
    Column("type", String(40), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),  # pending | delivered | dead
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("claimed_until", Double, nullable=False),  # a node is sending it
    Column("last_result", String(200)),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double),
    Index(None, "state", "next_at"),
    Index(None, "session_id", "number"),
)

#: The service's processes that share this database.
nodes = Table(
    "nodes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("stream_base", Text, nullable=False),
    Column("rest_base", Text, nullable=False, server_default=""),  # for the other nodes
    Column("beat_at", Double, nullable=False),
)
