"""Take back what a database grants on new tables by default (Supabase: everything, to anon and authenticated)"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
oldest_code = "0001"

TABLES = "llm_models, llm_catalogue_version, llm_sync_runs, llm_model_changes, llm_chats, llm_usage_stats, llm_notices"

# Policies keep the rows apart from each other. They say nothing about columns, and nothing about TRUNCATE.
CLOSE = f"""
DO $$
DECLARE stranger text;
BEGIN
  FOREACH stranger IN ARRAY ARRAY['anon', 'authenticated'] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = stranger) THEN
      EXECUTE format('REVOKE ALL ON {TABLES} FROM %I', stranger);
      EXECUTE format('REVOKE ALL ON SEQUENCE %s, %s FROM %I', pg_get_serial_sequence('llm_models', 'id'),
        pg_get_serial_sequence('llm_model_changes', 'id'), stranger);
    END IF;
  END LOOP;
END $$;
"""

# What 0001 and 0002 have granted to authenticated.
GRANT = """
GRANT SELECT ON llm_models, llm_catalogue_version, llm_chats, llm_usage_stats TO authenticated;
GRANT INSERT (id, subject, idempotency_key, body_sha256, request_id, question, system_prompt, history,
  requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story, deadline_at, publish_at)
  ON llm_chats TO authenticated;
GRANT UPDATE (status, error_code, error_detail, finished_at, lease_until, version) ON llm_chats TO authenticated;
"""


def upgrade() -> None:
    op.execute(CLOSE)
    op.execute(GRANT)


def downgrade() -> None:
    """Nothing: what was taken back was never ours to give."""
