"""The whole cause of a failed chat is for operators; its caller reads what follows from the code

`authenticated` reads columns of llm_chats, no longer the table: what is added to it is closed to callers until a
migration grants it. Texts that were written for both become the cause.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
oldest_code = "0005"

# All but error_cause and last_failure.
FOR_CALLERS = (
    "id, subject, idempotency_key, body_sha256, request_id, question, system_prompt, history, requested_model,"
    " model_key, model_name, matcha_llm_id, fallback_reason, fallback_story, status, answer, error_code, error_detail,"
    " attempt, attempts_returned, tries, version, lease_until, publish_at, publishes, created_at, deadline_at,"
    " started_at, finished_at, upstream_ms, waiting_for, waiting_since, last_failure_code, last_failure_at,"
    " other_models, strict, cancel_at, resends, erased_at, response"
)

COLUMNS = f"""
ALTER TABLE llm_chats ADD COLUMN error_cause text;
ALTER TABLE llm_chats ADD CONSTRAINT llm_chats_error_code CHECK (error_code IN ('unauthorised', 'unknown_model',
  'prompt_too_long', 'rate_limited', 'upstream_unavailable', 'upstream_rejected', 'upstream_not_json',
  'upstream_shape', 'timeout', 'no_model', 'cancelled', 'expired', 'attempts_exhausted')) NOT VALID;
REVOKE SELECT ON llm_chats FROM authenticated;
GRANT SELECT ({FOR_CALLERS}) ON llm_chats TO authenticated;
GRANT SELECT (error_cause, last_failure) ON llm_chats TO "operator";
"""

# The owner, too, is held to the policies: not for this. Old details named the gateway's host.
FILL = """
ALTER TABLE llm_chats NO FORCE ROW LEVEL SECURITY;
UPDATE llm_chats SET error_cause = error_detail, error_detail = CASE error_code
    WHEN 'expired' THEN 'Not answered within its deadline of '
      || round(extract(epoch FROM deadline_at - created_at)) || ' s.'
    WHEN 'attempts_exhausted' THEN 'Each of the workers that took it stopped before it had an answer.'
    ELSE 'It failed with ' || error_code || '.' END
WHERE status IN ('failed', 'expired') AND error_detail IS NOT NULL;
ALTER TABLE llm_chats FORCE ROW LEVEL SECURITY;
-- The table is rewritten in part above, in this transaction: looking at it once more adds little.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE llm_chats VALIDATE CONSTRAINT llm_chats_error_code;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(FILL)


def downgrade() -> None:
    op.execute("""
        REVOKE SELECT ON llm_chats FROM authenticated;
        GRANT SELECT ON llm_chats TO authenticated;
        REVOKE SELECT (error_cause, last_failure) ON llm_chats FROM "operator";
        ALTER TABLE llm_chats DROP CONSTRAINT llm_chats_error_code, DROP COLUMN error_cause;
    """)
