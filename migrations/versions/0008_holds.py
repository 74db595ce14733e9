"""Held runs can be dismissed; a model row knows which source listed it

A row that only the mapping has ever listed was never promised by MatchaAI: its first list is not held for it.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
ALTER TABLE llm_sync_runs ADD COLUMN dismissed_at timestamptz, ADD COLUMN dismissed_by text;
ALTER TABLE llm_models ADD COLUMN listed_by text;
"""

# Where MatchaAI was never synced, all rows are the mapping's. The owner, too, is held to the policies: not for this.
FILL = """
ALTER TABLE llm_models NO FORCE ROW LEVEL SECURITY;
ALTER TABLE llm_sync_runs NO FORCE ROW LEVEL SECURITY;
UPDATE llm_models SET listed_by = 'mapping' WHERE NOT EXISTS (
  SELECT FROM llm_sync_runs WHERE status IN ('succeeded', 'partial') AND source = 'matchaai');
ALTER TABLE llm_sync_runs FORCE ROW LEVEL SECURITY;
ALTER TABLE llm_models FORCE ROW LEVEL SECURITY;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(FILL)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE llm_models DROP COLUMN listed_by;
        ALTER TABLE llm_sync_runs DROP COLUMN dismissed_at, DROP COLUMN dismissed_by;
    """)
