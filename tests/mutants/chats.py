"""Mechanisms of chats: claims, leases, fences, deadlines, attempts, messages, groups, circuits."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LIFECYCLE = "tests/integration/chat/test_lifecycle.py"
_ANSWERING = "tests/integration/chat/test_answering.py"
_ASKING = "tests/integration/chat/test_asking.py"
_COMPLETE = "tests/unit/chat/test_complete.py"

MUTANTS = (
    Mutant(
        "sweeper-of-lost-rows",
        "shared/chat/lifecycle.py",
        ".all() if leases else []",
        ".all() if False else []",
        (f"{_LIFECYCLE}::test_lost_leases_are_queued_again_until_the_attempts_are_used_up",),
    ),
    Mutant(
        "sweeper-of-lost-messages",
        "shared/chat/lifecycle.py",
        "publish = connection.exec_driver_sql(_TAKE, (LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS)).all()",
        "publish = []",
        (f"{_LIFECYCLE}::test_a_lost_message_is_sent_again_with_growing_pauses",),
    ),
    Mutant(
        "messages-taken-once",
        "shared/chat/lifecycle.py",
        "WHERE status = 'queued' AND publish_at <= now()\n"
        "                     ORDER BY created_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED))",
        "WHERE status = 'queued' AND publish_at <= now()\n                     ORDER BY created_at LIMIT {BATCH}))",
        (f"{_LIFECYCLE}::test_a_sweep_leaves_what_another_is_taking",),
    ),
    Mutant(
        "fence-of-failures",
        "shared/chat/lifecycle.py",
        "AND (n.status = 'succeeded' OR c.attempt = n.attempt)",
        "",
        (f"{_LIFECYCLE}::test_whoever_has_an_answer_first_writes_it_while_the_chat_is_open",),
    ),
    Mutant(
        "fence-of-answers",
        "shared/chat/lifecycle.py",
        "WHERE c.id = n.id AND c.status IN ('queued', 'running') AND (n.status",
        "WHERE c.id = n.id AND (n.status",
        (f"{_LIFECYCLE}::test_whoever_has_an_answer_first_writes_it_while_the_chat_is_open",),
    ),
    Mutant(
        "fence-of-models",
        "shared/chat/lifecycle.py",
        'WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = \'running\'\nRETURNING c.id\n"""\n\n# Answers',
        'WHERE c.id = n.id AND c.status = \'running\'\nRETURNING c.id\n"""\n\n# Answers',
        ("tests/integration/chat/test_refused_models.py::test_a_lost_attempt_switches_no_model",),
    ),
    Mutant(
        "fence-of-returns",
        "shared/chat/lifecycle.py",
        'WHERE c.id = n.id AND c.attempt = n.attempt AND c.status = \'running\'\nRETURNING c.id\n"""\n\n# Rows',
        'WHERE c.id = n.id AND c.status = \'running\'\nRETURNING c.id\n"""\n\n# Rows',
        (f"{_LIFECYCLE}::test_whoever_has_an_answer_first_writes_it_while_the_chat_is_open",),
    ),
    Mutant(
        "lease-runs-out",
        "shared/chat/lifecycle.py",
        "AND (status = 'queued' OR (status = 'running' AND lease_until < now()))",
        "AND status = 'queued'",
        (f"{_LIFECYCLE}::test_whoever_has_an_answer_first_writes_it_while_the_chat_is_open",),
    ),
    Mutant(
        "lease-holds",
        "shared/chat/lifecycle.py",
        "AND (status = 'queued' OR (status = 'running' AND lease_until < now()))",
        "",
        (f"{_LIFECYCLE}::test_a_chat_is_claimed_by_one",),
    ),
    Mutant(
        "lease-holds-against-the-sweep",
        "shared/chat/lifecycle.py",
        "WHERE status = 'running' AND lease_until < now()\n                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED",
        "WHERE status = 'running'\n                     LIMIT {BATCH} FOR UPDATE SKIP LOCKED",
        (f"{_LIFECYCLE}::test_a_sweep_leaves_those_whose_lease_lasts",),
    ),
    Mutant(
        "lease-renewal",
        "shared/chat/lifecycle.py",
        "    connection.exec_driver_sql(_RENEW, (lease_seconds, list(held), list(held.values())))\n",
        "",
        (f"{_LIFECYCLE}::test_a_renewal_waits_for_nobody_and_keeps_what_is_being_written",),
    ),
    Mutant(
        "heartbeat",
        "worker/chat/process.py",
        "renew = next(renewals) or missed",
        "renew = False",
        (f"{_ANSWERING}::test_leases_are_renewed_while_a_call_lasts",),
    ),
    Mutant(
        "lease-ends-with-the-deadline",
        "shared/chat/lifecycle.py",
        "least(now() + make_interval(secs => %s), deadline_at + interval '{DEADLINE_GRACE_SECONDS} s')",
        "now() + make_interval(secs => %s)",
        (f"{_LIFECYCLE}::test_a_lease_is_never_renewed_past_the_deadline",),
    ),
    Mutant(
        "calls-end-with-their-chats",
        "worker/chat/process.py",
        "                self._loop.call_soon_threadsafe(self._close_ended, ended)\n",
        "                pass\n",
        (f"{_ANSWERING}::test_a_call_is_closed_when_its_chat_is_cancelled",),
    ),
    Mutant(
        "attempt-cap-of-claims",
        "shared/chat/lifecycle.py",
        "AND deadline_at > now() AND attempt - attempts_returned < %s",
        "AND deadline_at > now() AND %s > 0",
        (f"{_LIFECYCLE}::test_a_chat_whose_attempts_are_used_up_is_not_claimed",),
    ),
    Mutant(
        "attempt-cap-of-sweeps",
        "shared/chat/lifecycle.py",
        "status = CASE WHEN attempt - attempts_returned < %s THEN 'queued' ELSE 'failed' END",
        "status = CASE WHEN %s > 0 THEN 'queued' ELSE 'failed' END",
        (f"{_LIFECYCLE}::test_lost_leases_are_queued_again_until_the_attempts_are_used_up",),
    ),
    Mutant(
        "attempt-cap-of-failing-calls",
        "shared/chat/calls.py",
        "        if counted and claim.is_last:\n            pause = None\n",
        "",
        (f"{_COMPLETE}::test_a_chat_that_keeps_failing_while_others_are_answered_fails_with_its_cause",),
    ),
    Mutant(
        "deadline-of-chats",
        "shared/chat/lifecycle.py",
        "expired = connection.exec_driver_sql(_EXPIRE).all()",
        "expired = []",
        (f"{_LIFECYCLE}::test_what_is_past_its_deadline_expires_with_the_last_failure_as_its_cause",),
    ),
    Mutant(
        "deadline-of-calls",
        "shared/chat/calls.py",
        "deadline_seconds=min(seconds, self._patience.call_seconds)",
        "deadline_seconds=self._patience.call_seconds",
        (f"{_COMPLETE}::test_no_call_is_given_more_time_than_one_may_have_or_than_is_left",),
    ),
    Mutant(
        "deadline-of-claims",
        "shared/chat/lifecycle.py",
        "    AND deadline_at > now() AND attempt - attempts_returned < %s",
        "    AND attempt - attempts_returned < %s",
        (f"{_LIFECYCLE}::test_a_chat_past_its_deadline_is_not_claimed",),
    ),
    Mutant(
        "idempotency",
        "shared/chat/accept.py",
        '            "idempotency_key": asked.idempotency_key,\n',
        '            "idempotency_key": None,\n',
        (f"{_ASKING}::test_the_same_idempotency_key_gives_the_same_chat_and_another_body_is_refused",),
    ),
    Mutant(
        "idempotency-of-the-body",
        "shared/chat/accept.py",
        "if row.body_sha256 != asked.sha256 or snapshot is None:",
        "if snapshot is None:",
        (f"{_ASKING}::test_the_same_idempotency_key_gives_the_same_chat_and_another_body_is_refused",),
    ),
    Mutant(
        "places-given-away-in-turn",
        "shared/chat/accept.py",
        "                connection.execute(_ONE_AT_A_TIME)\n",
        "",
        (f"{_ASKING}::test_the_last_places_are_given_away_once_whoever_asks_at_the_same_time",),
    ),
    Mutant(
        "group-commit-before-telling",
        "shared/chat/batch_writer.py",
        "            released = self._release(",
        "            self._deliver([(order, claimed.get(chat_id)) for chat_id, order in claims.items()])\n"
        "            released = self._release(",
        ("tests/integration/chat/test_groups.py::test_a_claim_whose_commit_fails_is_none",),
    ),
    Mutant(
        "group-commit-one-by-one",
        "shared/chat/batch_writer.py",
        "        except (DatabaseError, RoleNotGranted, NoModel) as error:\n            if len(orders) > 1:\n",
        "        except (DatabaseError, RoleNotGranted, NoModel) as error:\n            if False:\n",
        ("tests/integration/chat/test_groups.py::test_one_that_cannot_be_written_takes_no_other_of_its_group_along",),
    ),
    Mutant(
        "group-commit-past-a-held-row",
        "shared/chat/batch_writer.py",
        "                return self._write_individually(orders)\n",
        "                return orders\n",
        ("tests/integration/chat/test_groups.py::test_a_row_that_somebody_holds_keeps_no_other_from_being_claimed",),
    ),
    Mutant(
        "answers-kept-while-postgresql-is-away",
        "worker/chat/process.py",
        "retry_seconds=claim.seconds_left + self._lease_seconds)",
        "retry_seconds=0.0)",
        (f"{_ANSWERING}::test_a_row_that_somebody_holds_takes_no_other_chat_along",),
    ),
    Mutant(
        "circuit",
        "shared/chat/circuit_breaker.py",
        "        return min(covering, key=lambda circuit: _width(circuit.scope), default=None)\n",
        "        return None\n",
        (f"{_COMPLETE}::test_a_chat_whose_circuit_is_open_makes_no_call_unless_it_is_the_probe",),
    ),
    Mutant(
        "circuit-of-each-caller",
        "shared/chat/circuit_breaker.py",
        "        if scope.subject is None and _spread(streak.subjects) < SPREAD:\n            return False\n",
        "",
        (
            "tests/unit/chat/test_circuit.py::test_a_caller_whose_questions_draw_errors_stops_nobody_else",
            f"{_ANSWERING}::test_a_caller_whose_questions_fail_keeps_nobody_else_waiting",
        ),
    ),
    Mutant(
        "probes",
        "shared/chat/circuit_breaker.py",
        "            if streak.probe_wanted and streak.probe_at <= now:\n",
        "            if False:\n",
        (f"{_ANSWERING}::test_chats_that_wait_for_the_gateway_hold_no_place_and_the_last_is_still_probed",),
    ),
    Mutant(
        "drain",
        "worker/chat/process.py",
        "                if self._draining:\n",
        "                if False:\n",
        (f"{_ANSWERING}::test_a_drained_process_claims_nothing_more_and_gives_back_what_it_holds",),
    ),
    Mutant(
        "cancelling-ones-own",
        "shared/chat/lifecycle.py",
        'subject = None if caller.role == "service_role" else caller.subject',
        "subject = None",
        (f"{_ASKING}::test_a_caller_sees_their_own_chats_and_a_service_sees_all",),
    ),
)
