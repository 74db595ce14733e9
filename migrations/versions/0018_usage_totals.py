"""Totals of usage beside the days, and an index for who calls which model

A trigger keeps the totals, in the transaction that counts: code of before counts into the days alone, and its chats
are in the totals as well.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
oldest_code = "0005"

NUMBERS = ("request_count", "successes", "failures", "cancelled", "expired", "latency_ms")

TABLE = """
CREATE TABLE llm_usage_totals (
  model_key text PRIMARY KEY,
  request_count bigint NOT NULL DEFAULT 0,
  successes bigint NOT NULL DEFAULT 0,
  failures bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  expired bigint NOT NULL DEFAULT 0,
  fallbacks jsonb NOT NULL DEFAULT '{}'::jsonb,
  requested jsonb NOT NULL DEFAULT '{}'::jsonb,
  latency_ms bigint NOT NULL DEFAULT 0,
  latency_buckets bigint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
REVOKE ALL ON llm_usage_totals FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON llm_usage_totals TO service_role;
GRANT SELECT ON llm_usage_totals TO "operator";
"""

# Supabase grants new tables to its API roles by default.
CLOSE = """
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON llm_usage_totals FROM %I', stranger);
    END IF;
  END LOOP;
END $$;
"""


def _summed(column: str) -> str:
    """By model: the numbers of a column of counts, added up."""
    return f"""SELECT model_key, jsonb_object_agg(what, number) AS numbers FROM (
    SELECT model_key, what, sum(sign * number::bigint) AS number
    FROM changed, jsonb_each_text({column}) AS each (what, number) GROUP BY model_key, what) AS summed
  WHERE number <> 0 GROUP BY model_key"""


def _added(column: str) -> str:
    """A total's counts and new ones, added up."""
    return f"""CASE WHEN excluded.{column} = '{{}}' THEN total.{column} ELSE
    (SELECT jsonb_object_agg(what, number) FROM (
       SELECT what, sum(number::bigint) AS number
       FROM (SELECT * FROM jsonb_each_text(total.{column}) UNION ALL SELECT * FROM jsonb_each_text(excluded.{column}))
         AS both_of (what, number) GROUP BY what) AS summed) END"""


# What `changed` (sign, and a row of the days) adds to each total. A day that somebody corrects corrects its total; one
# that is deleted does not: no figure falls because something old is cleared away.
ADD = f"""
INSERT INTO llm_usage_totals AS total (model_key, {", ".join(NUMBERS)}, fallbacks, requested, latency_buckets)
SELECT model_key, {", ".join(f"number_of.{name}" for name in NUMBERS)},
  coalesce(fell_back.numbers, '{{}}'), coalesce(asked.numbers, '{{}}'), coalesce(took.numbers, '{{}}')
FROM (SELECT model_key, {", ".join(f"sum(sign * {name}) AS {name}" for name in NUMBERS)}
      FROM changed GROUP BY model_key) AS number_of
LEFT JOIN ({_summed("fallbacks")}) AS fell_back USING (model_key)
LEFT JOIN ({_summed("requested")}) AS asked USING (model_key)
LEFT JOIN (SELECT model_key, array_agg(number ORDER BY place) AS numbers FROM (
    SELECT model_key, place, sum(sign * number)::bigint AS number
    FROM changed, unnest(latency_buckets) WITH ORDINALITY AS each (number, place) GROUP BY model_key, place) AS summed
  GROUP BY model_key) AS took USING (model_key)
ORDER BY model_key
ON CONFLICT (model_key) DO UPDATE SET
  {", ".join(f"{name} = total.{name} + excluded.{name}" for name in NUMBERS)},
  fallbacks = {_added("fallbacks")},
  requested = {_added("requested")},
  latency_buckets = ARRAY(
    SELECT coalesce(a, 0) + coalesce(b, 0) FROM unnest(total.latency_buckets, excluded.latency_buckets) AS pair (a, b))
"""
ROW = f"model_key, {', '.join(NUMBERS)}, fallbacks, requested, latency_buckets"

# Whoever writes the days takes the locks on totals after them, in the order of the keys: nobody waits in a circle.
TRIGGERS = f"""
CREATE FUNCTION llm_usage_stats_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM new_rows) THEN
    WITH changed AS MATERIALIZED (SELECT 1 AS sign, {ROW} FROM new_rows)
    {ADD};
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER llm_usage_stats_inserted AFTER INSERT ON llm_usage_stats REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION llm_usage_stats_inserted();

CREATE FUNCTION llm_usage_stats_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM new_rows) THEN
    WITH changed AS MATERIALIZED (
      SELECT 1 AS sign, {ROW} FROM new_rows UNION ALL SELECT -1, {ROW} FROM old_rows)
    {ADD};
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER llm_usage_stats_updated AFTER UPDATE ON llm_usage_stats
  REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION llm_usage_stats_updated();
"""

# The owner is held to the policies of the days: not for this. The trigger's lock keeps writers away until the end.
FILL = f"""
ALTER TABLE llm_usage_stats NO FORCE ROW LEVEL SECURITY;
WITH changed AS MATERIALIZED (SELECT 1 AS sign, {ROW} FROM llm_usage_stats)
{ADD};
ALTER TABLE llm_usage_stats FORCE ROW LEVEL SECURITY;
"""

POLICIES = """
ALTER TABLE llm_usage_totals ENABLE ROW LEVEL SECURITY;
ALTER TABLE llm_usage_totals FORCE ROW LEVEL SECURITY;
CREATE POLICY llm_usage_totals_service ON llm_usage_totals TO service_role USING (true) WITH CHECK (true);
CREATE POLICY llm_usage_totals_operator ON llm_usage_totals FOR SELECT TO "operator" USING (true);
"""

CALLERS = """
CREATE INDEX llm_chats_callers ON llm_chats (model_key, created_at) INCLUDE (subject);
"""


def upgrade() -> None:
    for part in (TABLE, CLOSE, TRIGGERS, FILL, POLICIES, CALLERS):
        op.execute(part)


def downgrade() -> None:
    op.execute("""
        DROP INDEX llm_chats_callers;
        DROP TRIGGER llm_usage_stats_inserted ON llm_usage_stats;
        DROP TRIGGER llm_usage_stats_updated ON llm_usage_stats;
        DROP FUNCTION llm_usage_stats_inserted, llm_usage_stats_updated;
        DROP TABLE llm_usage_totals;
    """)
