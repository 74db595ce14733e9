"""Names of tasks, queues and message headers: what services that enqueue work rely on."""

REFRESH_TASK = "llm.refresh"
CHAT_TASK = "llm.chat"

REFRESH_QUEUE = "refresh"
CHAT_QUEUE = "chat"
# Celery's own default: a service that names no queue sends here, and the refresh worker listens to it too.
DEFAULT_QUEUE = "celery"

# Message headers, beside Celery's own. The arguments of a task stay what contracts say they are.
REQUEST_ID_HEADER = "llm_refresh_request_id"
RUN_ID_HEADER = "llm_refresh_run_id"
TRIGGER_HEADER = "llm_refresh_trigger"
