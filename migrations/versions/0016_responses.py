"""What a chat of /v1/responses keeps beside its question

A column without a default. It is content: `operator` is not granted it.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE llm_chats ADD COLUMN response jsonb;")


def downgrade() -> None:
    op.execute("ALTER TABLE llm_chats DROP COLUMN response;")
