"""The catalogue: models, their version, sync runs and the ledger, with roles and policies"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
oldest_code = "0001"

# What the listing shows: a change of these, by whomever it is made, is a new version of the catalogue.
SHOWN = "matcha_llm_id, model_name, model_key, provider, capabilities, is_active, is_default, display_order"
# Everything but last_synced_at (and updated_at itself).
CONTENT = f"{SHOWN}, missed_syncs, last_missed_at, overrides, provenance"

TABLES = """
CREATE TABLE llm_models (
  id serial PRIMARY KEY,
  matcha_llm_id integer NOT NULL CONSTRAINT llm_models_matcha_llm_id_key UNIQUE,
  model_name text NOT NULL,
  model_key text NOT NULL,
  provider text NOT NULL,
  capabilities jsonb NOT NULL DEFAULT '{}'::jsonb,
  is_active boolean NOT NULL DEFAULT true,
  is_default boolean NOT NULL DEFAULT false,
  display_order integer NOT NULL DEFAULT 1000,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  last_synced_at timestamptz,
  missed_syncs integer NOT NULL DEFAULT 0,
  last_missed_at timestamptz,
  overrides jsonb NOT NULL DEFAULT '{}'::jsonb,
  provenance jsonb NOT NULL DEFAULT '{}'::jsonb,
  -- Two rows may swap their keys in one statement.
  CONSTRAINT llm_models_model_key_key UNIQUE (model_key) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT llm_models_default_is_active CHECK (is_active OR NOT is_default)
);
CREATE INDEX idx_llm_models_matcha_id ON llm_models (matcha_llm_id);
CREATE INDEX idx_llm_models_active ON llm_models (is_active);
CREATE UNIQUE INDEX llm_models_one_default ON llm_models (is_default) WHERE is_default;

CREATE TABLE llm_catalogue_version (
  only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT llm_catalogue_version_only_row CHECK (only_row),
  version bigint NOT NULL DEFAULT 1,
  watermark timestamptz NOT NULL DEFAULT now(),
  last_synced_at timestamptz,
  source text,
  settled_inputs text,
  settled_version bigint
);
INSERT INTO llm_catalogue_version DEFAULT VALUES;

CREATE TABLE llm_sync_runs (
  id uuid PRIMARY KEY,
  trigger text NOT NULL CONSTRAINT llm_sync_runs_trigger
    CHECK (trigger IN ('schedule', 'api', 'cli', 'task', 'startup', 'catch-up')),
  scheduled_for timestamp CONSTRAINT llm_sync_runs_scheduled_for_key UNIQUE,
  source text,
  options jsonb NOT NULL DEFAULT '{}'::jsonb,
  status text NOT NULL DEFAULT 'queued' CONSTRAINT llm_sync_runs_status
    CHECK (status IN ('queued', 'running', 'succeeded', 'partial', 'held', 'failed', 'abandoned')),
  counts jsonb NOT NULL DEFAULT '{}'::jsonb,
  errors jsonb NOT NULL DEFAULT '[]'::jsonb,
  held jsonb,
  error_code text,
  error_detail text,
  fetch_ms integer,
  plan_ms integer,
  apply_ms integer,
  upstream_sha256 text,
  task_id text,
  request_id text,
  actor text NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  lease_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  publish_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz
);
CREATE UNIQUE INDEX llm_sync_runs_one_running ON llm_sync_runs ((status = 'running')) WHERE status = 'running';
CREATE UNIQUE INDEX llm_sync_runs_one_queued ON llm_sync_runs (options)
  WHERE status = 'queued' AND scheduled_for IS NULL;
CREATE INDEX llm_sync_runs_newest ON llm_sync_runs (created_at DESC, id DESC);
CREATE INDEX llm_sync_runs_task_id ON llm_sync_runs (task_id);

CREATE TABLE llm_model_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id uuid CONSTRAINT llm_model_changes_run_id_fkey REFERENCES llm_sync_runs (id),
  kind text NOT NULL CONSTRAINT llm_model_changes_kind CHECK (kind IN ('added', 'renamed', 'repointed', 'moved',
    'capability', 'deactivated', 'reactivated', 'default', 'operator')),
  matcha_llm_id integer NOT NULL,
  model_key text NOT NULL,
  before jsonb,
  after jsonb,
  actor text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX llm_model_changes_run_id ON llm_model_changes (run_id);
CREATE INDEX llm_model_changes_key_before ON llm_model_changes ((before ->> 'model_key'), id DESC)
  WHERE before ? 'model_key';
"""

TRIGGERS = f"""
CREATE FUNCTION llm_models_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER llm_models_touch BEFORE UPDATE OF {CONTENT} ON llm_models FOR EACH ROW
  WHEN (({", ".join("OLD." + name for name in CONTENT.split(", "))})
    IS DISTINCT FROM ({", ".join("NEW." + name for name in CONTENT.split(", "))}))
  EXECUTE FUNCTION llm_models_touch();

-- A statement's trigger: one bump for any number of rows. It may bump for a statement that changed nothing.
CREATE FUNCTION llm_catalogue_bump() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE llm_catalogue_version SET version = version + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER llm_models_rows AFTER INSERT OR DELETE OR TRUNCATE ON llm_models
  FOR EACH STATEMENT EXECUTE FUNCTION llm_catalogue_bump();
CREATE TRIGGER llm_models_shown AFTER UPDATE OF {SHOWN} ON llm_models
  FOR EACH STATEMENT EXECUTE FUNCTION llm_catalogue_bump();

CREATE FUNCTION llm_model_changes_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'llm_model_changes is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER llm_model_changes_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON llm_model_changes
  FOR EACH STATEMENT EXECUTE FUNCTION llm_model_changes_keep();
"""

# The names are Supabase's, where both exist already.
ROLES = """
DO $$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['authenticated', 'service_role'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wanted);
  END LOOP;
  -- By whatever name: the usual one may be taken by a table that was renamed.
  EXECUTE format('GRANT USAGE ON SEQUENCE %s TO service_role', pg_get_serial_sequence('llm_models', 'id'));
END $$;
GRANT SELECT ON llm_models, llm_catalogue_version TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_models TO service_role;
GRANT SELECT, UPDATE ON llm_catalogue_version TO service_role;
GRANT SELECT, INSERT, UPDATE ON llm_sync_runs TO service_role;
GRANT SELECT, INSERT ON llm_model_changes TO service_role;
"""

POLICIES = (
    "".join(
        f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_service ON {table} TO service_role USING (true) WITH CHECK (true);
"""
        for table in ("llm_models", "llm_catalogue_version", "llm_sync_runs", "llm_model_changes")
    )
    + """
CREATE POLICY llm_models_active ON llm_models FOR SELECT TO authenticated USING (is_active);
CREATE POLICY llm_catalogue_version_read ON llm_catalogue_version FOR SELECT TO authenticated USING (true);
"""
)


def upgrade() -> None:
    for part in (TABLES, TRIGGERS, ROLES, POLICIES):
        op.execute(part)


def downgrade() -> None:
    # The roles stay: they belong to the whole server, and others may use them.
    op.execute("""
        DROP TABLE llm_model_changes, llm_sync_runs, llm_catalogue_version, llm_models;
        DROP FUNCTION llm_models_touch, llm_catalogue_bump, llm_model_changes_keep;
    """)
