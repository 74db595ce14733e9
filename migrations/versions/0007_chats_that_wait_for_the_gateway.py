"""What a queued chat waits for, since when, and the gateway's failure that made it wait

Nullable columns, and an index of the rows that wait: a chat that never waits is in none of it.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
ALTER TABLE llm_chats
  ADD COLUMN waiting_for text CONSTRAINT llm_chats_waiting_for CHECK (waiting_for IN ('turn', 'limit', 'upstream')),
  ADD COLUMN waiting_since timestamptz,
  ADD COLUMN last_failure_code text,
  ADD COLUMN last_failure_at timestamptz;
CREATE INDEX llm_chats_waiting_for_upstream ON llm_chats (matcha_llm_id, created_at)
  WHERE status = 'queued' AND waiting_for = 'upstream';
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute("""
        DROP INDEX llm_chats_waiting_for_upstream;
        ALTER TABLE llm_chats DROP COLUMN waiting_for, DROP COLUMN waiting_since,
          DROP COLUMN last_failure_code, DROP COLUMN last_failure_at;
    """)
