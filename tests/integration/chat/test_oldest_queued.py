"""The metric of the oldest queued chat and `doctor` look at the same chats: not at lines of batches, which may wait."""

from __future__ import annotations

import uuid

from shared.chat.figures import figures
from shared.system_status import read_status
from tests.integration.chat.conftest import Chats


def look(chats: Chats) -> tuple[float, int]:
    """The seconds of the metric, and how many chats doctor speaks of."""
    with chats.runtime.database.transaction() as connection:
        status = read_status(connection)
        return figures(connection).oldest_queued_seconds, status.chats_in_line + status.chats_waiting


def age(chats: Chats, chat_id: uuid.UUID, columns: str) -> None:
    """Let two more minutes go by for a chat that stands so."""
    older = "created_at = created_at - interval '2 minutes', publish_at = created_at"
    chats.catalogue.run(f"UPDATE llm_chats SET {older}, {columns} WHERE id = :id", id=chat_id)


WAITS_FOR_A_TURN = "dispatched_at = NULL, waiting_for = NULL"
NOT_TAKEN_UP = "dispatched_at = now() - interval '2 minutes', waiting_for = NULL"
WAITS_FOR_A_LIMIT = "dispatched_at = NULL, waiting_for = 'limit'"
WAITS_FOR_UPSTREAM = "dispatched_at = NULL, waiting_for = 'upstream'"


def test_a_queued_chat_counts_unless_it_waits_for_the_gateway(chats: Chats) -> None:
    assert look(chats) == (0, 0)
    chat = chats.submit()
    for minutes, columns in ((2, WAITS_FOR_A_TURN), (4, NOT_TAKEN_UP), (6, WAITS_FOR_A_LIMIT)):
        age(chats, chat, columns)
        seconds, number = look(chats)
        assert (minutes * 60 <= seconds < minutes * 60 + 60, number) == (True, 1), columns
    age(chats, chat, WAITS_FOR_UPSTREAM)
    assert look(chats) == (0, 0)


def test_a_line_of_a_batch_never_counts(chats: Chats) -> None:
    line = chats.submit()
    for columns in (WAITS_FOR_A_TURN, NOT_TAKEN_UP, WAITS_FOR_A_LIMIT, WAITS_FOR_UPSTREAM):
        age(chats, line, f"{columns}, class = 'batch'")
        assert look(chats) == (0, 0), columns
