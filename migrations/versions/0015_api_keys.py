"""API keys: whose they are, what they may do, and a digest of each secret

A new table for service_role alone: not even the digests are for anybody else.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLE = """
CREATE TABLE llm_api_keys (
  id text PRIMARY KEY,
  name text NOT NULL,
  subject text NOT NULL,
  role text NOT NULL CONSTRAINT llm_api_keys_role CHECK (role IN ('service_role', 'operator', 'authenticated')),
  secret_sha256 text NOT NULL,
  previous_sha256 text,
  previous_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  expires_at timestamptz,
  last_used_at timestamptz,
  rotated_at timestamptz,
  revoked_at timestamptz,
  revoked_by text,
  CONSTRAINT llm_api_keys_previous CHECK ((previous_sha256 IS NULL) = (previous_until IS NULL))
);
REVOKE ALL ON llm_api_keys FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON llm_api_keys TO service_role;
"""

# Supabase grants new tables to its API roles by default.
CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_api_keys FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
"""

POLICIES = """
ALTER TABLE llm_api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE llm_api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY llm_api_keys_service ON llm_api_keys TO service_role USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    for part in (TABLE, CLOSE, POLICIES):
        op.execute(part)


def downgrade() -> None:
    op.execute("DROP TABLE llm_api_keys;")
