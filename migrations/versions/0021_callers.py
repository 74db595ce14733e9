"""Callers: who may open one more chat, what each has used, and how long chats waited for their turn

New tables, an index and a function. Code of before counts into none of the tables and asks no function: its chats are
missing in the usage by caller and in the waiting times, and it refuses nobody.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = """
CREATE INDEX llm_chats_open ON llm_chats (subject, class) WHERE finished_at IS NULL;

CREATE TABLE llm_caller_usage (
  subject text NOT NULL,
  day date NOT NULL,
  model_key text NOT NULL,
  request_count bigint NOT NULL DEFAULT 0,
  last_used timestamptz NOT NULL,
  successes bigint NOT NULL DEFAULT 0,
  failures bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  expired bigint NOT NULL DEFAULT 0,
  latency_ms bigint NOT NULL DEFAULT 0,
  CONSTRAINT llm_caller_usage_pkey PRIMARY KEY (subject, day, model_key)
) WITH (fillfactor = 80);
CREATE INDEX llm_caller_usage_day ON llm_caller_usage (day);

-- Each of several connections adds to a row of its own: who ends a chat waits for nobody else who does.
CREATE TABLE llm_chat_waits (
  class text NOT NULL CONSTRAINT llm_chat_waits_class CHECK (class IN ('interactive', 'batch')),
  shard integer NOT NULL,
  wait_ms bigint NOT NULL DEFAULT 0,
  buckets bigint[] NOT NULL,
  CONSTRAINT llm_chat_waits_pkey PRIMARY KEY (class, shard)
) WITH (fillfactor = 50);
"""

CLOSE = """
REVOKE ALL ON llm_caller_usage, llm_chat_waits FROM PUBLIC;
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_caller_usage, llm_chat_waits FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_caller_usage TO service_role;
GRANT SELECT, INSERT, UPDATE ON llm_chat_waits TO service_role;
GRANT SELECT ON llm_caller_usage TO authenticated;
GRANT SELECT ON llm_caller_usage, llm_chat_waits TO "operator";
"""

OWN = "subject = (SELECT NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'sub')"

POLICIES = (
    "".join(
        f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_service ON {table} TO service_role USING (true) WITH CHECK (true);
CREATE POLICY {table}_operator ON {table} FOR SELECT TO "operator" USING (true);
"""
        for table in ("llm_caller_usage", "llm_chat_waits")
    )
    + f"CREATE POLICY llm_caller_usage_own ON llm_caller_usage FOR SELECT TO authenticated USING ({OWN});"
)

# Says whether a caller may open one more chat, within the statement that inserts it. A caller has sixteen locks. Far
# from each limit one of them is enough: no more of its chats than locks can be under way, and there is room for all of
# them. Near a limit all are held, so the function sees every chat that was admitted, and the next one waits for its
# commit. Who holds one lock may not wait for the others, so `alone` is the answer where the question has to be put
# again.
# Ids begin with the time at which they were made, so the chats of a minute are found among the late ones. A web process
# whose clock is a minute behind gets an id of the database's time instead: none of its chats is missed.
# Who holds the lock and does nothing loses it: a process that was stopped halfway must not halt its caller's chats.
FUNCTION = """
CREATE FUNCTION llm_admit_caller(
  asking text, given_id uuid, default_max_open integer, default_per_minute integer, alone boolean,
  OUT decision text, OUT chat_id uuid, OUT max_open integer, OUT open_now integer, OUT per_minute integer,
  OUT asked_now integer, OUT retry_seconds double precision, OUT reset_seconds double precision
) LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  minute CONSTANT interval := interval '1 minute';
  slots CONSTANT integer := 16;
  caller_lock CONSTANT integer := hashtext(asking);
  first_id uuid;
  oldest timestamptz;
  newest timestamptz;
  holds_lock boolean := false;
BEGIN
  chat_id := given_id;
  SELECT coalesce(own.max_open, default_max_open), coalesce(own.per_minute, default_per_minute)
    INTO llm_admit_caller.max_open, llm_admit_caller.per_minute
    FROM (SELECT) AS one LEFT JOIN llm_callers AS own ON own.subject = asking;
  IF per_minute IS NOT NULL THEN
    first_id := (lpad(to_hex((extract(epoch FROM now() - 2 * minute) * 1000)::bigint), 12, '0')
      || repeat('0', 20))::uuid;
    IF given_id < first_id THEN
      chat_id := (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
        || substr(replace(given_id::text, '-', ''), 13))::uuid;
    END IF;
  END IF;
  alone := alone OR max_open <= slots OR coalesce(per_minute <= slots, false);
  IF NOT alone THEN
    FOR step IN 0 .. slots - 1 LOOP
      holds_lock := pg_try_advisory_xact_lock(caller_lock, (pg_backend_pid() + step) % slots);
      EXIT WHEN holds_lock;
    END LOOP;
    IF NOT holds_lock THEN
      PERFORM pg_advisory_xact_lock(caller_lock, pg_backend_pid() % slots);
      holds_lock := true;
    END IF;
  END IF;
  LOOP
    SELECT count(*) INTO open_now FROM (
      SELECT FROM llm_chats AS chat WHERE chat.subject = asking AND chat.class = 'interactive'
        AND chat.finished_at IS NULL LIMIT max_open) AS counted;
    IF per_minute IS NOT NULL THEN
      SELECT count(*), min(created_at), max(created_at) INTO asked_now, oldest, newest FROM (
        SELECT chat.created_at FROM llm_chats AS chat WHERE chat.subject = asking AND chat.id >= first_id
          AND chat.class = 'interactive' AND chat.created_at > now() - minute
        ORDER BY chat.id DESC LIMIT per_minute) AS counted;
      reset_seconds := extract(epoch FROM newest + minute - now());
    END IF;
    IF open_now >= max_open THEN
      decision := 'max_open';
    ELSIF asked_now >= per_minute THEN
      decision := 'per_minute';
      retry_seconds := extract(epoch FROM oldest + minute - now());
    ELSIF alone AND holds_lock THEN
      decision := 'admitted';
    ELSIF NOT alone THEN
      decision := CASE WHEN least(max_open - open_now, per_minute - asked_now) > slots THEN 'admitted'
        ELSE 'alone' END;
    END IF;
    EXIT WHEN decision IS NOT NULL;
    PERFORM pg_advisory_xact_lock(caller_lock, slot) FROM generate_series(0, slots - 1) AS slot;
    holds_lock := true;
  END LOOP;
  PERFORM set_config('idle_in_transaction_session_timeout', '3s', true);
END $$;
REVOKE ALL ON FUNCTION llm_admit_caller FROM PUBLIC;
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON FUNCTION llm_admit_caller FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION llm_admit_caller TO service_role;
"""


def upgrade() -> None:
    for part in (TABLES, CLOSE, POLICIES, FUNCTION):
        op.execute(part)


def downgrade() -> None:
    op.execute("""
        DROP FUNCTION llm_admit_caller;
        DROP TABLE llm_chat_waits, llm_caller_usage;
        DROP INDEX llm_chats_open;
    """)
