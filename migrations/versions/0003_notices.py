"""The outbox of notices"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
oldest_code = "0001"

TABLE = """
CREATE TABLE llm_notices (
  id uuid PRIMARY KEY,
  kind text NOT NULL CONSTRAINT llm_notices_kind
    CHECK (kind IN ('held', 'failed', 'promoted', 'repointed', 'removed', 'recovered')),
  run_id uuid NOT NULL CONSTRAINT llm_notices_run_id_fkey REFERENCES llm_sync_runs (id),
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  attempts integer NOT NULL DEFAULT 0,
  send_at timestamptz NOT NULL DEFAULT now(),
  last_error text,
  ended_at timestamptz,
  delivered boolean NOT NULL DEFAULT false
);
-- What is still to be sent, however many have been.
CREATE INDEX llm_notices_waiting ON llm_notices (send_at) WHERE ended_at IS NULL;
CREATE INDEX llm_notices_ended ON llm_notices (ended_at) WHERE ended_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON llm_notices TO service_role;
ALTER TABLE llm_notices ENABLE ROW LEVEL SECURITY;
ALTER TABLE llm_notices FORCE ROW LEVEL SECURITY;
CREATE POLICY llm_notices_service ON llm_notices TO service_role USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE llm_notices")
