"""What a turn of a transcript says beyond its words."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("transcript_turns") as turns:
        turns.add_column(sa.Column("metadata", sa.Text))


def downgrade() -> None:
    with op.batch_alter_table("transcript_turns") as turns:
        turns.drop_column("metadata")
