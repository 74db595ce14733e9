"""What calls to the gateway experience, by model, and the open circuits of each process

Two new tables for service_role alone. Counts stay when a process ends; its open circuits count only while it reports.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = """
CREATE TABLE llm_upstream_calls (
  target text PRIMARY KEY,
  last_answer_at timestamptz,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_failure_code text,
  last_failure_status integer,
  failing_since timestamptz,
  failures_in_a_row integer NOT NULL DEFAULT 0,
  failures jsonb NOT NULL DEFAULT '{}'::jsonb
) WITH (fillfactor = 50);

CREATE TABLE llm_upstream_circuits (
  process text NOT NULL,
  target text NOT NULL,
  one_caller boolean NOT NULL,
  opened_at timestamptz NOT NULL,
  code text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT llm_upstream_circuits_pkey PRIMARY KEY (process, target, one_caller)
);

REVOKE ALL ON llm_upstream_calls, llm_upstream_circuits FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_upstream_calls, llm_upstream_circuits TO service_role;
"""

# Supabase grants new tables to its API roles by default.
CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_upstream_calls, llm_upstream_circuits FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
"""

POLICIES = "".join(
    f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_service ON {table} TO service_role USING (true) WITH CHECK (true);
"""
    for table in ("llm_upstream_calls", "llm_upstream_circuits")
)


def upgrade() -> None:
    for part in (TABLES, CLOSE, POLICIES):
        op.execute(part)


def downgrade() -> None:
    op.execute("DROP TABLE llm_upstream_calls, llm_upstream_circuits;")
