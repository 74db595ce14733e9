"""Which model was asked for where another answered, and refreshes that a refusal of the gateway asks for"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
ALTER TABLE llm_usage_stats ADD COLUMN requested jsonb NOT NULL DEFAULT '{}'::jsonb;
-- The new check takes all that the old one took, and a value more.
-- squawk-ignore ban-drop-constraint
ALTER TABLE llm_sync_runs DROP CONSTRAINT llm_sync_runs_trigger, ADD CONSTRAINT llm_sync_runs_trigger
  CHECK (trigger IN ('schedule', 'api', 'cli', 'task', 'startup', 'catch-up', 'refusal'));
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE llm_sync_runs NO FORCE ROW LEVEL SECURITY;
        UPDATE llm_sync_runs SET trigger = 'task' WHERE trigger = 'refusal';
        ALTER TABLE llm_sync_runs FORCE ROW LEVEL SECURITY;
        ALTER TABLE llm_sync_runs DROP CONSTRAINT llm_sync_runs_trigger, ADD CONSTRAINT llm_sync_runs_trigger
          CHECK (trigger IN ('schedule', 'api', 'cli', 'task', 'startup', 'catch-up'));
        ALTER TABLE llm_usage_stats DROP COLUMN requested;
    """)
