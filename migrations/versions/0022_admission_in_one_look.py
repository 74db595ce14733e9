"""One function admits a chat and gives it a place: it looks once where two looked five times, and side by side

A new function. Code of before goes on with `llm_admit_caller` and `llm_take_place`; they keep the same locks.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
oldest_code = "0005"

# As shared/chat/dispatch.py has them.
WAITS = "status = 'queued' AND dispatched_at IS NULL AND waiting_for IS NULL"
HAS_PLACE = (
    "dispatched_at IS NOT NULL AND finished_at IS NULL AND (status = 'queued' OR lease_until IS NULL"
    " OR lease_until > now())"
)

# Says whether a caller may open one more chat, and whether that has a place at once, within the statement that inserts
# it.
#
# `decision`: a caller has sixteen locks. Far from each limit one of them is enough: no more of its chats than locks can
# be under way, and there is room for all of them. Near a limit all are held, so the function sees every chat that was
# admitted, and the next one waits for its commit. Who holds one lock may not wait for the others, so `alone` is the
# answer where the question has to be put again. Ids begin with the time at which they were made, so the chats of a
# minute are found among the late ones. A web process whose clock is a minute behind gets an id of the database's time
# instead: none of its chats is missed.
#
# `place`: a turn, which gives places to chats that wait, holds the lock of places alone. Who accepts a chat shares it,
# with one of eight slots: so at most seven other chats can have been given a place unseen, and where more than eight
# are free there is room for all of them. Where fewer are, the lock is held alone and the places are counted anew.
# Nobody waits for these locks: `busy` is the answer of who does not have them.
#
# A volatile function sees, after it has a lock, what was committed until then; a query that holds all of it would not.
# Who holds a lock and does nothing loses it: a process that was stopped halfway must not halt other chats.
FUNCTION = f"""
CREATE FUNCTION llm_admit_chat(
  asking text, given_id uuid, default_max_open integer, default_per_minute integer, default_max_running integer,
  max_parallel integer, alone boolean,
  OUT decision text, OUT chat_id uuid, OUT place text, OUT max_open integer, OUT open_now integer,
  OUT per_minute integer, OUT asked_now integer, OUT retry_seconds double precision, OUT reset_seconds double precision
) LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  minute CONSTANT interval := interval '1 minute';
  caller_slots CONSTANT integer := 16;
  caller_lock CONSTANT integer := hashtext(asking);
  places_lock CONSTANT bigint := 7293450128892;
  place_slots CONSTANT integer := 8;
  place_lock CONSTANT integer := 1698128892;
  idle_timeout CONSTANT text := set_config('idle_in_transaction_session_timeout', '3s', true);
  first_id uuid;
  oldest timestamptz;
  newest timestamptz;
  max_running integer;
  one_waits boolean;
  holds_caller boolean := false;
  holds_place boolean := false;
  free bigint;
BEGIN
  chat_id := given_id;
  SELECT coalesce(own.max_open, default_max_open), coalesce(own.per_minute, default_per_minute),
      coalesce(own.max_running, default_max_running, 2147483647),
      EXISTS (SELECT FROM llm_chats WHERE class = 'interactive' AND {WAITS} AND publish_at <= now())
    INTO llm_admit_chat.max_open, llm_admit_chat.per_minute, max_running, one_waits
    FROM (SELECT) AS one LEFT JOIN llm_callers AS own ON own.subject = asking;
  IF per_minute IS NOT NULL THEN
    first_id := (lpad(to_hex((extract(epoch FROM now() - 2 * minute) * 1000)::bigint), 12, '0')
      || repeat('0', 20))::uuid;
    IF given_id < first_id THEN
      chat_id := (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
        || substr(replace(given_id::text, '-', ''), 13))::uuid;
    END IF;
  END IF;
  alone := alone OR max_open <= caller_slots OR coalesce(per_minute <= caller_slots, false);
  IF NOT alone THEN
    FOR step IN 0 .. caller_slots - 1 LOOP
      holds_caller := pg_try_advisory_xact_lock(caller_lock, (pg_backend_pid() + step) % caller_slots);
      EXIT WHEN holds_caller;
    END LOOP;
    IF NOT holds_caller THEN
      PERFORM pg_advisory_xact_lock(caller_lock, pg_backend_pid() % caller_slots);
      holds_caller := true;
    END IF;
  END IF;
  LOOP
    IF holds_caller AND NOT one_waits AND pg_try_advisory_xact_lock_shared(places_lock) THEN
      FOR step IN 0 .. place_slots - 1 LOOP
        holds_place := pg_try_advisory_xact_lock(place_lock, (pg_backend_pid() + step) % place_slots);
        EXIT WHEN holds_place;
      END LOOP;
    END IF;
    SELECT (SELECT count(*) FROM (
          SELECT FROM llm_chats AS chat WHERE chat.subject = asking AND chat.class = 'interactive'
            AND chat.finished_at IS NULL LIMIT max_open) AS counted),
        least(
          least((SELECT coalesce(sum(places), 0) FROM llm_chat_processes WHERE lease_until > now()), max_parallel)
            - count(*),
          max_running - count(*) FILTER (WHERE chat.subject = asking))
      INTO open_now, free FROM llm_chats AS chat WHERE {HAS_PLACE};
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
    ELSIF alone AND holds_caller THEN
      decision := 'admitted';
    ELSIF NOT alone THEN
      decision := CASE WHEN least(max_open - open_now, per_minute - asked_now) > caller_slots THEN 'admitted'
        ELSE 'alone' END;
    END IF;
    EXIT WHEN decision IS NOT NULL;
    PERFORM pg_advisory_xact_lock(caller_lock, slot) FROM generate_series(0, caller_slots - 1) AS slot;
    holds_caller := true;
  END LOOP;
  IF decision <> 'admitted' THEN
    RETURN;
  ELSIF free <= 0 THEN
    place := 'full';
  ELSIF holds_place AND free > place_slots THEN
    place := 'free';
  ELSIF one_waits OR NOT pg_try_advisory_xact_lock(places_lock) THEN
    place := 'busy';
  ELSE
    SELECT CASE WHEN least(
          least((SELECT coalesce(sum(places), 0) FROM llm_chat_processes WHERE lease_until > now()), max_parallel)
            - count(*),
          max_running - count(*) FILTER (WHERE chat.subject = asking)) > 0 THEN 'free' ELSE 'full' END
      INTO place FROM llm_chats AS chat WHERE {HAS_PLACE};
  END IF;
END $$;
REVOKE ALL ON FUNCTION llm_admit_chat FROM PUBLIC;
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated', 'operator'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON FUNCTION llm_admit_chat FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION llm_admit_chat TO service_role;
"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    op.execute("DROP FUNCTION llm_admit_chat")
