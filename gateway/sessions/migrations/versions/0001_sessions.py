"""Organizations, keys, connections, sessions, idempotency."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("credits_limit", sa.BigInteger),
        sa.Column("credits_used", sa.BigInteger, nullable=False),
        sa.Column("rate_limit", sa.Integer, nullable=False),
        sa.Column("webhook_url", sa.Text),
        sa.Column("webhook_secret", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("organization_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hint", sa.String(24), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_api_keys_organization_id"),
    )
    op.create_table(
        "connections",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("organization_id", sa.String(40), nullable=False),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column("phone_number", sa.String(16)),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_connections_organization_id"),
    )
    op.create_index("ix_connections_organization_id_phone_number", "connections", ["organization_id", "phone_number"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("organization_id", sa.String(40), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(40), nullable=False),
        sa.Column("source_language", sa.String(40)),
        sa.Column("target_language", sa.String(40)),
        sa.Column("phone_number", sa.String(16)),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("webhook_url", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("call", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("end_reason", sa.Text),
        sa.Column("active_at", sa.Double, nullable=False),
        sa.Column("translation_seconds", sa.Double, nullable=False),
        sa.Column("ai_agent_seconds", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_sessions_organization_id"),
    )
    op.create_index("ix_sessions_organization_id_created_at", "sessions", ["organization_id", "created_at"])
    op.create_index("ix_sessions_status_node", "sessions", ["status", "node"])
    op.create_table(
        "idempotency",
        sa.Column("organization_id", sa.String(40), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "route", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def downgrade() -> None:
    for table in ("idempotency", "sessions", "connections", "api_keys", "organizations", "settings"):
        op.drop_table(table)
