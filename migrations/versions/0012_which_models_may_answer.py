"""Which models may answer a chat, and when one is cancelled whose caller has gone

Columns with constant defaults, and an index of the open chats that were given up: there are few at any time.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
ALTER TABLE llm_chats
  ADD COLUMN other_models text[] NOT NULL DEFAULT '{}',
  ADD COLUMN strict boolean NOT NULL DEFAULT false,
  ADD COLUMN cancel_at timestamptz,
  ADD COLUMN resends integer NOT NULL DEFAULT 0;
CREATE INDEX llm_chats_given_up ON llm_chats (cancel_at) WHERE cancel_at IS NOT NULL AND finished_at IS NULL;
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute("""
        DROP INDEX llm_chats_given_up;
        ALTER TABLE llm_chats DROP COLUMN other_models, DROP COLUMN strict, DROP COLUMN cancel_at, DROP COLUMN resends;
    """)
