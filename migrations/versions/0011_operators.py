"""A role that looks and does not act: `operator` reads the tables that `/ops` shows, of chats no content

No column of a question, a system prompt, a history or an answer is granted to it, nor the digest of a question.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_code = "0005"

TABLES = (
    "llm_models",
    "llm_catalogue_version",
    "llm_sync_runs",
    "llm_model_changes",
    "llm_usage_stats",
    "llm_upstream_calls",
    "llm_upstream_circuits",
)
CHAT_COLUMNS = (
    "id, subject, request_id, requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story,"
    " status, error_code, error_detail, attempt, attempts_returned, tries, version, lease_until, publish_at, publishes,"
    " created_at, deadline_at, started_at, finished_at, upstream_ms, waiting_for, waiting_since, last_failure_code,"
    " last_failure_at"
)

# A role belongs to the whole server, so another database may have made it already.
ROLE = """
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'operator') THEN
    BEGIN
      CREATE ROLE "operator" NOLOGIN NOINHERIT;
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role operator is missing and this login may not create roles: as an administrator run'
          ' CREATE ROLE operator NOLOGIN NOINHERIT, then migrate again' USING ERRCODE = 'insufficient_privilege';
    END;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO "operator"', current_schema());
END $$;
"""

READS = f"""
REVOKE ALL ON {", ".join(TABLES)}, llm_chats FROM "operator";
GRANT SELECT ON {", ".join(TABLES)} TO "operator";
GRANT SELECT ({CHAT_COLUMNS}) ON llm_chats TO "operator";
"""

POLICIES = "".join(
    f'CREATE POLICY {table}_operator ON {table} FOR SELECT TO "operator" USING (true);\n'
    for table in (*TABLES, "llm_chats")
)


def upgrade() -> None:
    for part in (ROLE, READS, POLICIES):
        op.execute(part)


def downgrade() -> None:
    # The role stays: it belongs to the whole server, and others may use it.
    for table in (*TABLES, "llm_chats"):
        op.execute(f"DROP POLICY {table}_operator ON {table}")
    op.execute(f'REVOKE ALL ON {", ".join(TABLES)}, llm_chats FROM "operator"')
