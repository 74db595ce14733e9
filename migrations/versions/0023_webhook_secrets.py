"""The secret of a webhook endpoint can be replaced: the one before signs along for a grace

New columns without values. Code of before signs with the new secret alone.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
oldest_code = "0005"

COLUMNS = """
-- The table is short: a subject has 20 endpoints at most.
ALTER TABLE llm_webhook_endpoints
  ADD COLUMN rotated_at timestamptz,
  ADD COLUMN previous_secret text,
  ADD COLUMN previous_until timestamptz,
  -- squawk-ignore constraint-missing-not-valid
  ADD CONSTRAINT llm_webhook_endpoints_previous CHECK ((previous_secret IS NULL) = (previous_until IS NULL));
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE llm_webhook_endpoints DROP CONSTRAINT llm_webhook_endpoints_previous,
          DROP COLUMN rotated_at, DROP COLUMN previous_secret, DROP COLUMN previous_until;
    """)
