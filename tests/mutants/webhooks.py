"""Mechanisms of webhooks: events at every end, one id, one sender at a time, no forbidden address."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_EVENTS = "tests/integration/webhooks/test_events.py"
_DELIVERY = "tests/integration/webhooks/test_delivery.py"
_MIGRATION = "migrations/versions/0020_webhooks.py"
_DELIVERIES = "shared/webhooks/deliveries.py"
_SENDER = "shared/webhooks/sender.py"

MUTANTS = (
    Mutant(
        "event-for-background-alone",
        _MIGRATION,
        " AND NEW.response -> 'background' = 'true')",
        " AND NEW.response IS NOT NULL)",
        (f"{_EVENTS}::test_who_waits_for_the_answer_gets_no_event",),
    ),
    Mutant(
        "event-of-the-first-end",
        _MIGRATION,
        "WHEN (OLD.finished_at IS NULL AND ",
        "WHEN (OLD.finished_at IS NOT NULL AND ",
        (f"{_EVENTS}::test_every_way_to_end_makes_exactly_one_event",),
    ),
    Mutant(
        "event-not-for-disabled-endpoints",
        _MIGRATION,
        "endpoint.removed_at IS NULL AND endpoint.disabled_at IS NULL\n",
        "endpoint.removed_at IS NULL\n",
        (f"{_DELIVERY}::test_an_endpoint_that_fails_for_three_days_is_switched_off",),
    ),
    Mutant(
        "one-webhook-id",
        _SENDER,
        "message_id=delivery.event_id,",
        'message_id=f"{delivery.event_id}-{delivery.attempts}",',
        (f"{_DELIVERY}::test_what_is_not_taken_comes_again_under_the_same_id",),
    ),
    Mutant(
        "guarded-sockets",
        _SENDER,
        "            socket_factory=guarded_socket(local=self._local),\n",
        "",
        (f"{_DELIVERY}::test_the_connection_is_refused_where_the_address_is",),
    ),
    Mutant(
        "no-redirects",
        "shared/notices/post.py",
        "allow_redirects=False",
        "allow_redirects=True",
        (f"{_DELIVERY}::test_what_is_not_taken_comes_again_under_the_same_id",),
    ),
    Mutant(
        "places-of-an-endpoint",
        _SENDER,
        "MAX_PER_ENDPOINT: Final = 4\n",
        "MAX_PER_ENDPOINT: Final = 48\n",
        (f"{_DELIVERY}::test_an_endpoint_that_hangs_holds_up_no_other",),
    ),
    Mutant(
        "recovery-makes-all-due",
        _DELIVERIES,
        "        connection.exec_driver_sql(_ALL_DUE, (delivery.endpoint_id,))\n",
        "        pass\n",
        (f"{_DELIVERY}::test_a_recovered_endpoint_gets_what_paused_at_once",),
    ),
    Mutant(
        "disabling-waits-for-a-try",
        _DELIVERIES,
        " AND send_at > now() - interval '2 hours'\n",
        "\n",
        (f"{_DELIVERY}::test_an_endpoint_that_nobody_could_try_is_not_switched_off",),
    ),
    Mutant(
        "another-look-after-an-end",
        _SENDER,
        "while due or under_way or freed.is_set():",
        "while due or under_way:",
        (f"{_DELIVERY}::test_what_ends_while_the_sender_looks_for_more_makes_room_for_what_waits",),
    ),
)
