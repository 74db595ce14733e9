"""The line that the end of a chat leaves in the log."""

from __future__ import annotations

import structlog

from shared.chat.lifecycle import Finish

log = structlog.get_logger(__name__)


def log_result(end: Finish) -> None:
    """Log how this process ended a chat, without the answer."""
    if end.status == "succeeded":
        log.info(
            "llm_chat.answered",
            message="Answered",
            attempt=end.attempt,
            tries=end.tries,
            model_key=end.model.key,
            upstream_ms=end.upstream_ms,
        )
    else:
        log.error(
            "llm_chat.failed",
            message="Failed",
            attempt=end.attempt,
            tries=end.tries,
            model_key=end.model.key,
            code=end.error_code,
            detail=end.error_cause or end.error_detail,
        )
