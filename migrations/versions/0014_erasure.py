"""Chats whose content was erased, and the ledger's line of it

A column, wider checks, and two columns of the ledger that may be empty: a line of an erasure is about no model.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
oldest_code = "0005"

CHATS = """
ALTER TABLE llm_chats ADD COLUMN erased_at timestamptz;
-- The new check takes all that the old one took, and erased chats.
-- squawk-ignore ban-drop-constraint, constraint-missing-not-valid
ALTER TABLE llm_chats DROP CONSTRAINT llm_chats_answered, ADD CONSTRAINT llm_chats_answered CHECK (
  CASE WHEN erased_at IS NULL THEN (status = 'succeeded') = (answer IS NOT NULL)
       ELSE answer IS NULL AND finished_at IS NOT NULL END);
GRANT SELECT (erased_at) ON llm_chats TO "operator";
"""

LEDGER = """
-- Older code shows such a line as one about no model.
-- squawk-ignore ban-drop-not-null
ALTER TABLE llm_model_changes ALTER COLUMN matcha_llm_id DROP NOT NULL, ALTER COLUMN model_key DROP NOT NULL;
-- The new checks take all that the old ones took.
-- squawk-ignore ban-drop-constraint, constraint-missing-not-valid
ALTER TABLE llm_model_changes DROP CONSTRAINT llm_model_changes_kind,
  ADD CONSTRAINT llm_model_changes_kind CHECK (kind IN ('added', 'renamed', 'repointed', 'moved', 'capability',
    'deactivated', 'reactivated', 'default', 'operator', 'erased')),
  ADD CONSTRAINT llm_model_changes_model CHECK (
    kind = 'erased' OR (matcha_llm_id IS NOT NULL AND model_key IS NOT NULL));
"""


def upgrade() -> None:
    op.execute(CHATS)
    op.execute(LEDGER)


def downgrade() -> None:
    # The owner, too, is held to the policies, and the ledger keeps its lines: not for this.
    op.execute("""
        ALTER TABLE llm_chats NO FORCE ROW LEVEL SECURITY;
        UPDATE llm_chats SET answer = '' WHERE erased_at IS NOT NULL AND status = 'succeeded';
        ALTER TABLE llm_chats FORCE ROW LEVEL SECURITY;
        ALTER TABLE llm_chats DROP CONSTRAINT llm_chats_answered, DROP COLUMN erased_at,
          ADD CONSTRAINT llm_chats_answered CHECK ((status = 'succeeded') = (answer IS NOT NULL));
        ALTER TABLE llm_model_changes NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE llm_model_changes DISABLE TRIGGER llm_model_changes_keep;
        DELETE FROM llm_model_changes WHERE kind = 'erased';
        ALTER TABLE llm_model_changes ENABLE TRIGGER llm_model_changes_keep;
        ALTER TABLE llm_model_changes FORCE ROW LEVEL SECURITY;
        ALTER TABLE llm_model_changes DROP CONSTRAINT llm_model_changes_model,
          DROP CONSTRAINT llm_model_changes_kind, ADD CONSTRAINT llm_model_changes_kind CHECK (kind IN ('added',
            'renamed', 'repointed', 'moved', 'capability', 'deactivated', 'reactivated', 'default', 'operator')),
          ALTER COLUMN matcha_llm_id SET NOT NULL, ALTER COLUMN model_key SET NOT NULL;
    """)
