"""Every column of a chat is either content, which erasing takes away, or named here as what may stay."""

from pathlib import Path

from shared.chat.erasure import CONTENT
from shared.models import llm_chats, metadata

STAYS = {
    "id",
    "subject",
    "model_key",
    "model_name",
    "matcha_llm_id",
    "fallback_reason",
    "fallback_story",
    "status",
    "error_code",
    "error_detail",
    "error_cause",
    "last_failure",
    "attempt",
    "attempts_returned",
    "tries",
    "version",
    "lease_until",
    "publish_at",
    "publishes",
    "created_at",
    "deadline_at",
    "started_at",
    "finished_at",
    "upstream_ms",
    "waiting_for",
    "waiting_since",
    "last_failure_code",
    "last_failure_at",
    "erased_at",
    "strict",
    "cancel_at",
    "class",
    "dispatched_at",
    "resends",
}
"""States, times, counts and our own words: nothing that a caller wrote."""
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_whoever_adds_a_column_decides_whether_erasing_takes_it() -> None:
    columns = set(llm_chats.columns.keys())
    assert columns == STAYS | set(CONTENT)
    assert not STAYS & set(CONTENT)


def test_the_table_of_what_is_kept_names_every_table_of_ours() -> None:
    page = OPERATIONS.read_text().split("## What is kept, and for how long")[1].split("\n## ")[0]
    missing = [name for name in metadata.tables if f"`{name}`" not in page]
    assert missing == []
