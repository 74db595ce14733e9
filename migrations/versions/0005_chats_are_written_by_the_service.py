"""Chats are written by the service alone; `authenticated` reads its own

It could insert rows by itself (on Supabase by the REST interface), with a deadline, a history and a number of its own
choice: what the API checks has to be checked for every row.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
oldest_code = "0005"

CLOSE = """
DROP POLICY llm_chats_ask ON llm_chats;
DROP POLICY llm_chats_cancel ON llm_chats;
REVOKE ALL ON llm_chats FROM authenticated;
GRANT SELECT ON llm_chats TO authenticated;
"""

# As 0002 has it.
OWN = "subject = (SELECT NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'sub')"
OPEN = f"""
GRANT INSERT (id, subject, idempotency_key, body_sha256, request_id, question, system_prompt, history,
  requested_model, model_key, model_name, matcha_llm_id, fallback_reason, fallback_story, deadline_at, publish_at)
  ON llm_chats TO authenticated;
GRANT UPDATE (status, error_code, error_detail, finished_at, lease_until, version) ON llm_chats TO authenticated;
CREATE POLICY llm_chats_ask ON llm_chats FOR INSERT TO authenticated WITH CHECK ({OWN} AND status = 'queued');
CREATE POLICY llm_chats_cancel ON llm_chats FOR UPDATE TO authenticated
  USING ({OWN} AND status IN ('queued', 'running')) WITH CHECK ({OWN} AND status = 'cancelled');
"""


def upgrade() -> None:
    op.execute(CLOSE)


def downgrade() -> None:
    op.execute(OPEN)
