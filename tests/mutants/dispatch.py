"""Mechanisms of dispatch: the order, the lock, places by lease, lost messages, the gateway's limits."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DISPATCH = "tests/integration/chat/test_dispatch.py"
_LIMITS = "tests/integration/chat/test_call_limits.py"
_COMPLETE = "tests/unit/chat/test_complete.py"

MUTANTS = (
    Mutant(
        "dispatch-by-share",
        "shared/chat/dispatch.py",
        "ORDER BY share, id LIMIT",
        "ORDER BY id LIMIT",
        (f"{_DISPATCH}::test_a_guest_has_the_next_place_whatever_the_flood",),
    ),
    Mutant(
        "dispatch-by-weight",
        "shared/chat/dispatch.py",
        " / greatest(coalesce(own.weight, 1), {LEAST_WEIGHT}) AS share",
        " AS share",
        (f"{_DISPATCH}::test_weights_share_the_places",),
    ),
    Mutant(
        "dispatch-under-the-lock",
        "shared/chat/dispatch.py",
        "THEN pg_try_advisory_xact_lock({_LOCK}) END",
        "THEN true END",
        (f"{_DISPATCH}::test_while_one_gives_places_away_no_other_does",),
    ),
    Mutant(
        "places-by-lease",
        "shared/chat/dispatch.py",
        "FROM llm_chat_processes WHERE lease_until > now()",
        "FROM llm_chat_processes WHERE true",
        (f"{_DISPATCH}::test_places_of_a_process_whose_lease_ended_are_given_back",),
    ),
    Mutant(
        "places-of-lost-leases",
        "shared/chat/dispatch.py",
        '" OR lease_until > now())"',
        '" OR true)"',
        (f"{_DISPATCH}::test_a_lease_that_ended_gives_its_place_back_by_itself",),
    ),
    Mutant(
        "places-of-a-caller",
        "shared/chat/dispatch.py",
        "coalesce(own.max_running, %(max_running)s::int) - coalesce(loads.number, 0)",
        "NULL",
        (f"{_DISPATCH}::test_a_caller_keeps_to_its_own_limit_and_leaves_the_places_to_others",),
    ),
    Mutant(
        "callers-by-rotation",
        "shared/chat/dispatch.py",
        "        following = following or rows[0].after\n",
        "",
        (f"{_DISPATCH}::test_more_callers_than_are_compared_at_once_come_around",),
    ),
    Mutant(
        "messages-that-merely-wait",
        "shared/chat/sweeper.py",
        "    AND (c.dispatched_at < taken.newest OR taken.running < ({LIVING_PLACES}))\n",
        "",
        (f"{_DISPATCH}::test_a_message_that_merely_waits_is_not_sent_again",),
    ),
    Mutant(
        "calls-counted-under-the-lock",
        "shared/chat/call_limits.py",
        "    connection.exec_driver_sql(_ONE_AT_A_TIME)\n",
        "",
        (f"{_LIMITS}::test_a_call_is_counted_before_another_one_is_allowed",),
    ),
    Mutant(
        "starts-in-a-minute",
        "shared/chat/call_limits.py",
        "%(per_minute)s::int IS NULL OR NOT EXISTS (SELECT FROM recent) AS rate",
        "true AS rate",
        (f"{_LIMITS}::test_starts_count_for_a_minute_though_their_calls_have_ended",),
    ),
    Mutant(
        "pause-of-the-gateway",
        "shared/chat/calls.py",
        "            self._pause_all(failure.retry_after_seconds, key)\n",
        "",
        (f"{_COMPLETE}::test_a_pause_that_the_gateway_asks_for_stops_all_calls_and_spends_no_attempt",),
    ),
)
