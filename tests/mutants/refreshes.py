"""Mechanisms of the catalogue: who runs a refresh, what the guard holds, what is told of it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_REFRESHES = "tests/integration/catalogue/test_refreshes.py"
_PLAN = "tests/unit/catalogue/test_plan.py"
_OUTBOX = "tests/integration/notices/test_outbox.py"
_SENDER = "tests/integration/notices/test_sender.py"

MUTANTS = (
    Mutant(
        "guard-of-held-lists",
        "shared/catalogue/sync/planner.py",
        "        must_hold = plan.guard.holds(self._policy.max_shrink)\n",
        "        must_hold = False\n",
        (f"{_REFRESHES}::test_an_empty_or_halved_list_is_held_and_the_very_list_can_be_forced",),
    ),
    Mutant(
        "force-of-the-very-list",
        "shared/catalogue/sync/refresh.py",
        "                forced = options.force == fetched.sha256\n",
        "                forced = options.force is not None\n",
        (f"{_REFRESHES}::test_an_empty_or_halved_list_is_held_and_the_very_list_can_be_forced",),
    ),
    Mutant(
        "grace",
        "shared/catalogue/sync/plan.py",
        "    if missed.missed_syncs >= policy.grace_syncs and missed.is_active:\n",
        "    if missed.is_active:\n",
        (f"{_PLAN}::test_a_model_is_deactivated_after_the_grace_and_comes_back_by_itself",),
    ),
    Mutant(
        "one-default",
        "shared/catalogue/sync/plan.py",
        "    more, promoted = with_one_default(before, draft.after, preferred_key=policy.default_key)\n",
        "    more, promoted = [], None\n",
        (f"{_PLAN}::test_the_default_that_is_lost_is_replaced_by_the_same_providers_first",),
    ),
    Mutant(
        "fence-of-runs",
        "shared/catalogue/sync/runs.py",
        '        .where(runs.c.id == claim.run_id, runs.c.attempt == claim.attempt, runs.c.status == "running")\n'
        "        .values(",
        "        .where(runs.c.id == claim.run_id)\n        .values(",
        (f"{_REFRESHES}::test_a_zombie_whose_fetch_fails_leaves_the_end_that_the_run_has",),
    ),
    Mutant(
        "fence-held-while-applying",
        "shared/catalogue/sync/refresh.py",
        "            runs.hold_fence(connection, claim)\n",
        "",
        (f"{_REFRESHES}::test_a_run_that_is_being_applied_is_not_abandoned",),
    ),
    Mutant(
        "lock-of-the-catalogue",
        "shared/catalogue/sync/store.py",
        '" FROM llm_catalogue_version FOR UPDATE"',
        '" FROM llm_catalogue_version"',
        (f"{_REFRESHES}::test_an_edit_waits_for_whoever_writes_the_catalogue",),
    ),
    Mutant(
        "one-run-at-a-time",
        "migrations/versions/0001_catalogue.py",
        "CREATE UNIQUE INDEX llm_sync_runs_one_running ",
        "CREATE INDEX llm_sync_runs_one_running ",
        ("tests/integration/test_database.py::test_the_database_itself_refuses_a_second_running_run",),
    ),
    Mutant(
        "lease-of-runs",
        "shared/catalogue/sync/runs.py",
        "            WHERE status = 'running' AND lease_until < now() RETURNING id\n",
        "            WHERE status = 'running' RETURNING id\n",
        (f"{_REFRESHES}::test_a_run_that_fetches_is_not_joined_and_one_follow_up_waits_behind_it",),
    ),
    Mutant(
        "sweeper-of-dead-runs",
        "shared/catalogue/sync/refresh.py",
        "        dead = runs.abandon_expired(connection)\n",
        "        dead = []\n",
        (f"{_OUTBOX}::test_a_run_whose_worker_died_has_failed",),
    ),
    Mutant(
        "attempt-cap-of-nights",
        "shared/catalogue/sync/queued_runs.py",
        "AND status IN ('failed', 'abandoned') AND attempt < :attempts\n",
        "AND status IN ('failed', 'abandoned') AND :attempts > 0\n",
        (f"{_REFRESHES}::test_failed_nights_are_tried_again_in_the_same_row_and_others_never",),
    ),
    Mutant(
        "refusals-ask-once",
        "shared/catalogue/sync/queued_runs.py",
        "    connection.execute(_ONE_ASKS)\n",
        "",
        ("tests/integration/chat/test_refused_models.py::test_who_asks_after_a_refusal_waits_for_who_is_asking",),
    ),
    Mutant(
        "outbox-in-the-transaction",
        "shared/catalogue/sync/refresh.py",
        "        self._record(connection, ending)\n        return Outcome(claim.run_id, status, plan.counts, errors)\n",
        "        with self._database.transaction() as other:\n            self._record(other, ending)\n"
        "        return Outcome(claim.run_id, status, plan.counts, errors)\n",
        (f"{_OUTBOX}::test_what_was_not_applied_is_not_told",),
    ),
    Mutant(
        "outbox-marks-what-it-takes",
        "shared/notices/deliveries.py",
        "WHERE receiver = :receiver AND ended_at IS NULL AND send_at <= now()\n",
        "WHERE receiver = :receiver AND ended_at IS NULL\n",
        (f"{_SENDER}::test_two_senders_at_once_take_each_notice_once_and_do_not_wait_for_each_other",),
    ),
    Mutant(
        "outbox-marks-what-is-delivered",
        "shared/notices/deliveries.py",
        "UPDATE llm_notice_deliveries SET ended_at = now(), delivered = true, last_error = NULL\n",
        "UPDATE llm_notice_deliveries SET delivered = true, last_error = NULL\n",
        (f"{_SENDER}::test_it_is_sent_once",),
    ),
    Mutant(
        "outbox-deadline",
        "shared/notices/post.py",
        "            asyncio.timeout(deadline_seconds),\n",
        "",
        (f"{_SENDER}::test_a_receiver_that_drips_is_left_at_the_deadline",),
    ),
)
