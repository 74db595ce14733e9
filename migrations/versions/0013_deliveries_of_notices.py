"""A notice has a delivery for each receiver, so that none repeats or holds up another's

Code of before sends what is due in `llm_notices` itself; a notice that has deliveries is never due there
(`send_at` is infinite), so that both may run side by side.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = """
CREATE TABLE llm_notice_receivers (
  receiver text PRIMARY KEY,
  seen_at timestamptz NOT NULL DEFAULT now(),
  failures integer NOT NULL DEFAULT 0,
  send_at timestamptz NOT NULL DEFAULT now(),
  last_error text
);

CREATE TABLE llm_notice_deliveries (
  notice_id uuid NOT NULL CONSTRAINT llm_notice_deliveries_notice_id_fkey
    REFERENCES llm_notices (id) ON DELETE CASCADE,
  receiver text NOT NULL,
  created_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  send_at timestamptz NOT NULL DEFAULT now(),
  last_error text,
  ended_at timestamptz,
  delivered boolean NOT NULL DEFAULT false,
  CONSTRAINT llm_notice_deliveries_pkey PRIMARY KEY (notice_id, receiver)
);
-- The newest first, of one receiver, however many have been.
CREATE INDEX llm_notice_deliveries_waiting ON llm_notice_deliveries (receiver, created_at) WHERE ended_at IS NULL;

REVOKE ALL ON llm_notice_receivers, llm_notice_deliveries FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_notice_receivers, llm_notice_deliveries TO service_role;
"""

# Supabase grants new tables to its API roles by default.
CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_notice_receivers, llm_notice_deliveries FROM %I', stranger);
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
    for table in ("llm_notice_receivers", "llm_notice_deliveries")
)


def upgrade() -> None:
    for part in (TABLES, CLOSE, POLICIES):
        op.execute(part)


# Older code sends what waits, to the webhook. The owner, too, is held to the policies: not for this.
BACK = """
ALTER TABLE llm_notices NO FORCE ROW LEVEL SECURITY;
UPDATE llm_notices SET send_at = now() WHERE ended_at IS NULL AND send_at = 'infinity';
ALTER TABLE llm_notices FORCE ROW LEVEL SECURITY;
DROP TABLE llm_notice_deliveries, llm_notice_receivers;
"""


def downgrade() -> None:
    op.execute(BACK)
