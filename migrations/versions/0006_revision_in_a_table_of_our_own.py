"""The revision stands in a table of our own, beside it the oldest code that works with it

Alembic makes `llm_refresh_version` (`migrations/env.py`); here it gets its column, its grants and its policy.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
oldest_code = "0005"

# Whoever migrates writes it as the table's owner, for whom the policies hold too. The grants say who else may do what.
TABLE = """
ALTER TABLE llm_refresh_version ADD COLUMN oldest_code text;
ALTER TABLE llm_refresh_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE llm_refresh_version FORCE ROW LEVEL SECURITY;
CREATE POLICY llm_refresh_version_as_granted ON llm_refresh_version USING (true) WITH CHECK (true);
"""

CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_refresh_version FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT SELECT ON llm_refresh_version TO service_role;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(CLOSE)


def downgrade() -> None:
    op.execute("""
        DROP POLICY llm_refresh_version_as_granted ON llm_refresh_version;
        ALTER TABLE llm_refresh_version NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
        ALTER TABLE llm_refresh_version DROP COLUMN oldest_code;
    """)
