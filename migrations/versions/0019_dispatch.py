"""Chats wait for their turn in PostgreSQL: classes, dispatched chats, places of living processes, limits of callers

Columns with defaults, new tables and indexes. Older code never dispatches: it publishes each chat at once and sees all
queued chats alike, so its messages and those of newer code may both be sent for a chat. The second finds nothing to do.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = "llm_callers, llm_chat_processes, llm_call_starts"

COLUMNS = """
ALTER TABLE llm_chats
  ADD COLUMN class text NOT NULL DEFAULT 'interactive'
    CONSTRAINT llm_chats_class CHECK (class IN ('interactive', 'batch')),
  ADD COLUMN dispatched_at timestamptz;
-- Who waits for a turn, by caller; who has a place or a message on its way to one; who pauses; whose time is over.
CREATE INDEX llm_chats_turn ON llm_chats (class, subject, id) INCLUDE (publish_at)
  WHERE status = 'queued' AND dispatched_at IS NULL AND waiting_for IS NULL;
CREATE INDEX llm_chats_dispatched ON llm_chats (subject) WHERE dispatched_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX llm_chats_paused ON llm_chats (publish_at) WHERE status = 'queued' AND waiting_for IS NOT NULL;
CREATE INDEX llm_chats_deadlines ON llm_chats (deadline_at) WHERE status = 'queued';
GRANT SELECT (class, dispatched_at) ON llm_chats TO authenticated, "operator";
"""

CREATE = """
CREATE TABLE llm_callers (
  subject text PRIMARY KEY,
  max_open integer CONSTRAINT llm_callers_max_open CHECK (max_open > 0),
  max_running integer CONSTRAINT llm_callers_max_running CHECK (max_running > 0),
  per_minute integer CONSTRAINT llm_callers_per_minute CHECK (per_minute > 0),
  -- NaN is above infinity.
  weight double precision CONSTRAINT llm_callers_weight CHECK (weight > 0 AND weight < 'Infinity')
);

CREATE TABLE llm_chat_processes (
  id uuid PRIMARY KEY,
  node text NOT NULL,
  places integer NOT NULL CONSTRAINT llm_chat_processes_places CHECK (places >= 0),
  started_at timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz NOT NULL
);

-- Calls of the gateway, where a limit counts them: of the last minute, and those that have not ended.
CREATE TABLE llm_call_starts (
  id uuid PRIMARY KEY,
  process_id uuid NOT NULL,
  chat_id uuid NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE INDEX llm_call_starts_started_at ON llm_call_starts (started_at);
CREATE INDEX llm_call_starts_open ON llm_call_starts (process_id) WHERE ended_at IS NULL;
"""

CLOSE = f"""
REVOKE ALL ON {TABLES} FROM PUBLIC;
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON {TABLES} FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLES} TO service_role;
GRANT SELECT ON llm_callers, llm_chat_processes TO "operator";
"""

POLICIES = "".join(
    f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_service ON {table} TO service_role USING (true) WITH CHECK (true);
"""
    for table in TABLES.split(", ")
) + "".join(
    f'CREATE POLICY {table}_operator ON {table} FOR SELECT TO "operator" USING (true);\n'
    for table in ("llm_callers", "llm_chat_processes")
)

# As shared/chat/dispatch.py has them.
WAITS = "status = 'queued' AND dispatched_at IS NULL AND waiting_for IS NULL"
HAS_PLACE = (
    "dispatched_at IS NOT NULL AND finished_at IS NULL AND (status = 'queued' OR lease_until IS NULL"
    " OR lease_until > now())"
)

# A function takes the lock and then looks anew, within the statement that inserts a chat: no exchange more, and nobody
# else gives the same place away before that transaction ends. Who holds the lock and does nothing loses it: a process
# that was stopped halfway must not halt every chat.
FUNCTIONS = f"""
CREATE FUNCTION llm_has_room(asking text, max_running integer, max_parallel integer) RETURNS boolean
LANGUAGE sql VOLATILE SET enable_seqscan = off AS $$
  SELECT (SELECT count(*) FROM llm_chats WHERE {HAS_PLACE})
      < least((SELECT sum(places) FROM llm_chat_processes WHERE lease_until > now()), llm_has_room.max_parallel)
    AND (SELECT count(*) FROM llm_chats WHERE {HAS_PLACE} AND subject = asking)
      < coalesce((SELECT callers.max_running FROM llm_callers AS callers WHERE callers.subject = asking),
                 llm_has_room.max_running, 2147483647)
$$;
CREATE FUNCTION llm_take_place(asking text, max_running integer, max_parallel integer) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF llm_has_room(asking, max_running, max_parallel) IS NOT TRUE THEN
    RETURN 'full';
  END IF;
  IF EXISTS (SELECT FROM llm_chats WHERE class = 'interactive' AND {WAITS} AND publish_at <= now())
    OR NOT pg_try_advisory_xact_lock(7293450128892) THEN
    RETURN 'busy';
  END IF;
  PERFORM set_config('idle_in_transaction_session_timeout', '3s', true);
  RETURN CASE WHEN llm_has_room(asking, max_running, max_parallel) THEN 'free' ELSE 'full' END;
END $$;
REVOKE ALL ON FUNCTION llm_has_room, llm_take_place FROM PUBLIC;
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON FUNCTION llm_has_room, llm_take_place FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION llm_has_room, llm_take_place TO service_role;
"""


def upgrade() -> None:
    for part in (COLUMNS, CREATE, CLOSE, POLICIES, FUNCTIONS):
        op.execute(part)


def downgrade() -> None:
    op.execute("""
        DROP FUNCTION llm_take_place, llm_has_room;
        DROP TABLE llm_callers, llm_chat_processes, llm_call_starts;
        DROP INDEX llm_chats_turn, llm_chats_dispatched, llm_chats_paused, llm_chats_deadlines;
        ALTER TABLE llm_chats DROP COLUMN class, DROP COLUMN dispatched_at;
    """)
