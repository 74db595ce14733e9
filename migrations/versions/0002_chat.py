"""Chats and the usage of models, with their policies"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
oldest_code = "0001"

TABLES = """
CREATE TABLE llm_chats (
  id uuid PRIMARY KEY,
  subject text NOT NULL,
  idempotency_key text,
  body_sha256 text NOT NULL,
  request_id text,
  question text NOT NULL,
  system_prompt text,
  history jsonb NOT NULL DEFAULT '[]'::jsonb,
  requested_model text,
  model_key text NOT NULL,
  model_name text NOT NULL,
  matcha_llm_id integer NOT NULL,
  fallback_reason text CONSTRAINT llm_chats_fallback_reason
    CHECK (fallback_reason IN ('unknown_key', 'retired_key', 'inactive_key', 'unknown_upstream')),
  fallback_story jsonb,
  status text NOT NULL DEFAULT 'queued' CONSTRAINT llm_chats_status
    CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
  answer text,
  error_code text,
  error_detail text,
  last_failure text,
  attempt integer NOT NULL DEFAULT 0,
  attempts_returned integer NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 0,
  version bigint NOT NULL DEFAULT 1,
  lease_until timestamptz,
  publish_at timestamptz NOT NULL DEFAULT now(),
  publishes integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  deadline_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  upstream_ms integer,
  -- An answer belongs to a success and to nothing else.
  CONSTRAINT llm_chats_answered CHECK ((status = 'succeeded') = (answer IS NOT NULL)),
  CONSTRAINT llm_chats_finished CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL))
) WITH (
  -- Renewed leases stay on their page, and what finished chats leave behind is cleared long before it could be felt.
  fillfactor = 85, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000
);
CREATE UNIQUE INDEX llm_chats_idempotency ON llm_chats (subject, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX llm_chats_of_subject ON llm_chats (subject, id DESC);
-- Open chats only: claims, sweeps and counts stay as they are however many have been answered.
CREATE INDEX llm_chats_queued ON llm_chats (created_at) WHERE status = 'queued';
CREATE INDEX llm_chats_running ON llm_chats (created_at) WHERE status = 'running';
CREATE INDEX llm_chats_finished ON llm_chats (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE llm_usage_stats (
  model_key text NOT NULL,
  day date NOT NULL,
  request_count bigint NOT NULL DEFAULT 0,
  last_used timestamptz NOT NULL,
  successes bigint NOT NULL DEFAULT 0,
  failures bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  expired bigint NOT NULL DEFAULT 0,
  fallbacks jsonb NOT NULL DEFAULT '{}'::jsonb,
  latency_ms bigint NOT NULL DEFAULT 0,
  latency_buckets bigint[] NOT NULL,
  CONSTRAINT llm_usage_stats_pkey PRIMARY KEY (model_key, day)
);
CREATE INDEX llm_usage_stats_day ON llm_usage_stats (day);

-- When upstream last said that it does not know this id: for the next refresh to look at.
ALTER TABLE llm_models ADD COLUMN unknown_upstream_at timestamptz;
"""

# `authenticated` may put its own questions and withdraw them, and write nothing else: where a gateway opens tables
# to tokens of this role, nobody writes answers or claims.
GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_chats TO service_role;
GRANT SELECT ON llm_chats TO authenticated;
GRANT INSERT (id, subject, idempotency_key, body_sha256, request_id, question, system_prompt, history,
  requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story, deadline_at, publish_at)
  ON llm_chats TO authenticated;
GRANT UPDATE (status, error_code, error_detail, finished_at, lease_until, version) ON llm_chats TO authenticated;
GRANT SELECT, INSERT, UPDATE ON llm_usage_stats TO service_role;
GRANT SELECT ON llm_usage_stats TO authenticated;
"""

OWN = "subject = (SELECT NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'sub')"

POLICIES = (
    "".join(
        f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_service ON {table} TO service_role USING (true) WITH CHECK (true);
"""
        for table in ("llm_chats", "llm_usage_stats")
    )
    + f"""
CREATE POLICY llm_chats_own ON llm_chats FOR SELECT TO authenticated USING ({OWN});
CREATE POLICY llm_chats_ask ON llm_chats FOR INSERT TO authenticated WITH CHECK ({OWN} AND status = 'queued');
CREATE POLICY llm_chats_cancel ON llm_chats FOR UPDATE TO authenticated
  USING ({OWN} AND status IN ('queued', 'running')) WITH CHECK ({OWN} AND status = 'cancelled');
CREATE POLICY llm_usage_stats_read ON llm_usage_stats FOR SELECT TO authenticated USING (true);
"""
)


def upgrade() -> None:
    for part in (TABLES, GRANTS, POLICIES):
        op.execute(part)


def downgrade() -> None:
    op.execute("DROP TABLE llm_chats, llm_usage_stats; ALTER TABLE llm_models DROP COLUMN unknown_upstream_at;")
