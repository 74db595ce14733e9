"""Webhooks: endpoints of callers, and a delivery for each event of one of their background responses

A trigger writes deliveries in the transaction that ends a chat, whichever statement does it: code of before makes
events as well. The secrets of endpoints sign, so they stand there as they are: the tables are for service_role alone.
A notice may be about an endpoint and no run: code of before sends it with the run `None`.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = """
CREATE TABLE llm_webhook_endpoints (
  id uuid PRIMARY KEY,
  subject text NOT NULL,
  url text NOT NULL,
  events text[] NOT NULL CONSTRAINT llm_webhook_endpoints_events CHECK (cardinality(events) > 0),
  secret text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  send_at timestamptz NOT NULL DEFAULT now(),
  failing_since timestamptz,
  last_status integer,
  last_error text,
  last_delivered_at timestamptz,
  disabled_at timestamptz,
  disabled_reason text CONSTRAINT llm_webhook_endpoints_reason CHECK (disabled_reason IN ('failing', 'gone')),
  removed_at timestamptz,
  removed_by text,
  CONSTRAINT llm_webhook_endpoints_disabled CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE INDEX llm_webhook_endpoints_of_subject ON llm_webhook_endpoints (subject) WHERE removed_at IS NULL;

CREATE TABLE llm_webhook_deliveries (
  id uuid PRIMARY KEY,
  endpoint_id uuid NOT NULL CONSTRAINT llm_webhook_deliveries_endpoint_id_fkey
    REFERENCES llm_webhook_endpoints (id) ON DELETE CASCADE,
  event_id text NOT NULL,
  type text NOT NULL,
  object_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  status text NOT NULL DEFAULT 'waiting'
    CONSTRAINT llm_webhook_deliveries_status CHECK (status IN ('waiting', 'delivered', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  send_at timestamptz NOT NULL DEFAULT now(),
  give_up_at timestamptz NOT NULL DEFAULT now() + interval '72 hours',
  attempted_at timestamptz,
  last_status integer,
  last_error text,
  ended_at timestamptz,
  CONSTRAINT llm_webhook_deliveries_once UNIQUE (endpoint_id, event_id),
  CONSTRAINT llm_webhook_deliveries_ended CHECK ((status = 'waiting') = (ended_at IS NULL))
);
-- What waits for one endpoint, however much has been.
CREATE INDEX llm_webhook_deliveries_waiting ON llm_webhook_deliveries (endpoint_id, send_at) WHERE ended_at IS NULL;
CREATE INDEX llm_webhook_deliveries_newest ON llm_webhook_deliveries (created_at DESC, id DESC);
CREATE INDEX llm_webhook_deliveries_of_endpoint
  ON llm_webhook_deliveries (endpoint_id, created_at DESC, id DESC);

REVOKE ALL ON llm_webhook_endpoints, llm_webhook_deliveries FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_webhook_endpoints, llm_webhook_deliveries TO service_role;
"""

# Supabase grants new tables to its API roles by default.
CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_webhook_endpoints, llm_webhook_deliveries FROM %I', stranger);
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
    for table in ("llm_webhook_endpoints", "llm_webhook_deliveries")
)

# A chat ends once, so its event has one id, made of the chat's. Only the end of a background response calls the
# function; it looks for endpoints by llm_webhook_endpoints_of_subject.
TRIGGER = """
CREATE FUNCTION llm_chats_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  hex text := replace(NEW.id::text, '-', '');
  event text := CASE NEW.status WHEN 'succeeded' THEN 'response.completed'
    WHEN 'cancelled' THEN 'response.cancelled' ELSE 'response.failed' END;
BEGIN
  INSERT INTO llm_webhook_deliveries (id, endpoint_id, event_id, type, object_id)
  SELECT gen_random_uuid(), endpoint.id, 'evt_' || hex, event, 'resp_' || hex
  FROM llm_webhook_endpoints AS endpoint
  WHERE endpoint.subject = NEW.subject AND endpoint.removed_at IS NULL AND endpoint.disabled_at IS NULL
    AND event = ANY(endpoint.events)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER llm_chats_ended AFTER UPDATE OF finished_at ON llm_chats FOR EACH ROW
  WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.response -> 'background' = 'true')
  EXECUTE FUNCTION llm_chats_ended();
"""

NOTICES = """
-- squawk-ignore ban-drop-not-null
ALTER TABLE llm_notices ALTER COLUMN run_id DROP NOT NULL;
-- The new check takes all that the old one took.
-- squawk-ignore ban-drop-constraint, constraint-missing-not-valid
ALTER TABLE llm_notices DROP CONSTRAINT llm_notices_kind, ADD CONSTRAINT llm_notices_kind CHECK (
    kind IN ('held', 'failed', 'promoted', 'repointed', 'removed', 'recovered', 'webhook_disabled')),
  ADD CONSTRAINT llm_notices_run CHECK (kind = 'webhook_disabled' OR run_id IS NOT NULL);
"""


def upgrade() -> None:
    for part in (TABLES, CLOSE, POLICIES, TRIGGER, NOTICES):
        op.execute(part)


def downgrade() -> None:
    # The owner, too, is held to the policies: not for this.
    op.execute("""
        DROP TRIGGER llm_chats_ended ON llm_chats;
        DROP FUNCTION llm_chats_ended;
        DROP TABLE llm_webhook_deliveries, llm_webhook_endpoints;
        ALTER TABLE llm_notices NO FORCE ROW LEVEL SECURITY;
        DELETE FROM llm_notices WHERE kind = 'webhook_disabled';
        ALTER TABLE llm_notices FORCE ROW LEVEL SECURITY;
        ALTER TABLE llm_notices ALTER COLUMN run_id SET NOT NULL, DROP CONSTRAINT llm_notices_run,
          DROP CONSTRAINT llm_notices_kind, ADD CONSTRAINT llm_notices_kind CHECK (
            kind IN ('held', 'failed', 'promoted', 'repointed', 'removed', 'recovered'));
    """)
