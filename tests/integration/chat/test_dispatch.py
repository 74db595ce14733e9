"""Whose turn it is: the order, the places, several dispatchers, and what a turn costs however many wait."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.waiting import wait_for
from shared.chat import dispatch, places, sweeper
from shared.chat.chat_request import ChatRequest
from shared.chat.dispatch import NO_LIMITS, DispatchLimits, DispatchTurn
from shared.chat.requests import Question
from shared.db import Caller, DatabaseUnavailable
from tests.integration.chat.conftest import ANN, PROCESS, Chats


def set_places(chats: Chats, number: int) -> None:
    with chats.runtime.database.transaction() as connection:
        places.announce(connection, PROCESS, "chat@test", number, lease_seconds=3600)


def take_turn(chats: Chats, limits: DispatchLimits = NO_LIMITS, *, after: str = "") -> DispatchTurn:
    with chats.runtime.database.transaction() as connection:
        return dispatch.take_turn(connection, limits, after=after)


def submit(chats: Chats, subject: str, number: int = 1) -> list[uuid.UUID]:
    caller = Caller("authenticated", subject)
    chat_requests = [ChatRequest(Question(question=f"Question {each}?"), caller, None, None) for each in range(number)]
    return [chats.runtime.submitter.submit(each).snapshot.chat_id for each in chat_requests]


def subjects_of(chats: Chats, turn: DispatchTurn) -> Counter[str]:
    return Counter(chats.row(each.chat_id)["subject"] for each in turn.dispatched)


def taken(chats: Chats) -> int:
    return int(chats.catalogue.run(f"SELECT count(*) AS n FROM llm_chats WHERE {dispatch.HAS_PLACE}")[0]["n"])


def test_chats_have_a_place_at_once_while_one_is_free_and_wait_then(chats: Chats) -> None:
    set_places(chats, 2)
    first, second, third = submit(chats, "ann", 3)
    assert [chats.row(each)["dispatched_at"] is None for each in (first, second, third)] == [False, False, True]
    assert [each.chat_id for each in take_turn(chats).dispatched] == [third], "there is a reserve of one"
    (fourth,) = submit(chats, "ann")
    assert take_turn(chats).dispatched == ()
    assert chats.row(fourth)["publishes"] == 0


def test_who_asks_while_others_wait_does_not_overtake_them(chats: Chats) -> None:
    set_places(chats, 1)
    submit(chats, "ann", 3)
    set_places(chats, 1000)
    (late,) = submit(chats, "ben")
    assert chats.row(late)["dispatched_at"] is None


def test_a_guest_has_the_next_place_whatever_the_flood(chats: Chats) -> None:
    set_places(chats, 4)
    flood = submit(chats, "flood", 30)
    take_turn(chats)
    (guest,) = submit(chats, "guest")
    chats.catalogue.run("UPDATE llm_chats SET status = 'cancelled', finished_at = now() WHERE id = :id", id=flood[0])
    assert [each.chat_id for each in take_turn(chats).dispatched] == [guest]


def test_weights_share_the_places(chats: Chats) -> None:
    set_places(chats, 0)
    chats.catalogue.run("INSERT INTO llm_callers (subject, weight) VALUES ('heavy', 3)")
    for subject in ("heavy", "light"):
        submit(chats, subject, 60)
    set_places(chats, 36)  # and a reserve of four
    assert subjects_of(chats, take_turn(chats)) == {"heavy": 30, "light": 10}


def test_a_weight_near_zero_halts_nobody(chats: Chats) -> None:
    set_places(chats, 0)
    chats.catalogue.run("INSERT INTO llm_callers (subject, weight) VALUES ('least', 1e-320)")
    for subject in ("least", "usual"):
        submit(chats, subject, 30)
    set_places(chats, 10)  # and a reserve of two
    assert subjects_of(chats, take_turn(chats)) == {"least": 1, "usual": 11}
    assert chats.shown(submit(chats, "least")[0])["position"] > 30


def test_a_caller_keeps_to_its_own_limit_and_leaves_the_places_to_others(chats: Chats) -> None:
    set_places(chats, 0)
    chats.catalogue.run("INSERT INTO llm_callers (subject, max_running) VALUES ('ann', 2)")
    for subject in ("ann", "ben", "carl"):
        submit(chats, subject, 10)
    set_places(chats, 100)
    limits = DispatchLimits(caller_max_running=5)
    assert subjects_of(chats, take_turn(chats, limits)) == {"ann": 2, "ben": 5, "carl": 5}
    assert take_turn(chats, limits).dispatched == ()


def test_a_direct_place_keeps_to_the_limit_of_the_caller(chats: Chats) -> None:
    runtime = chats.with_settings(caller_max_running=2)
    ids = [chats.submit(runtime=runtime) for _ in range(3)]
    assert [chats.row(each)["dispatched_at"] is None for each in ids] == [False, False, True]


def test_the_limit_of_the_gateway_leaves_no_reserve(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 30)
    set_places(chats, 100)
    assert len(take_turn(chats, DispatchLimits(max_parallel=7)).dispatched) == 7


def test_batch_lines_have_what_interactive_chats_leave(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 4)
    chats.catalogue.run("UPDATE llm_chats SET class = 'batch'")
    (late,) = submit(chats, "ben")
    set_places(chats, 1)
    first, second = take_turn(chats).dispatched
    assert first.chat_id == late
    assert chats.row(second.chat_id)["class"] == "batch"


def test_places_of_a_process_whose_lease_ended_are_given_back(chats: Chats) -> None:
    chats.catalogue.run("UPDATE llm_chat_processes SET lease_until = now() - interval '1 second'")
    submit(chats, "ann", 3)
    assert take_turn(chats).dispatched == ()


def test_a_lease_that_ended_gives_its_place_back_by_itself(chats: Chats) -> None:
    set_places(chats, 1)
    lost, _, waiting = submit(chats, "ann", 3)
    take_turn(chats)
    run = chats.catalogue.run
    run("UPDATE llm_chats SET status = 'running', lease_until = now() - interval '1 s' WHERE id = :id", id=lost)
    assert [each.chat_id for each in take_turn(chats).dispatched] == [waiting]


def test_askers_at_the_same_time_get_no_more_places_than_there_are(chats: Chats) -> None:
    set_places(chats, 30)
    threads = [threading.Thread(target=submit, args=(chats, f"caller {n}", 12)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken(chats) <= 30
    take_turn(chats)
    assert taken(chats) == 34


def test_several_dispatchers_and_askers_never_overshoot(chats: Chats) -> None:
    set_places(chats, 20)
    stop, seen = threading.Event(), list[int]()

    def dispatching() -> None:
        while not stop.is_set():
            take_turn(chats)
            seen.append(taken(chats))

    threads = [threading.Thread(target=dispatching) for _ in range(3)]
    threads += [threading.Thread(target=submit, args=(chats, f"caller {n}", 25)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads[3:]:
        thread.join()
    take_turn(chats)
    stop.set()
    for thread in threads[:3]:
        thread.join()
    assert max(seen) <= 23
    assert taken(chats) == 23


_ADMIT = "SELECT place FROM llm_admit_chat('ann', gen_random_uuid(), 1000, NULL, NULL, NULL, false)"


def test_while_many_places_are_free_nobody_waits_for_the_commit_of_another(chats: Chats) -> None:
    set_places(chats, 20)
    with psycopg.connect(chats.superuser_url) as first, psycopg.connect(chats.superuser_url) as second:
        assert first.execute(_ADMIT).fetchone() == ("free",)
        assert take_turn(chats).dispatched == ()
        assert second.execute(_ADMIT).fetchone() == ("free",)


def test_the_last_places_are_given_away_one_after_the_other(chats: Chats) -> None:
    set_places(chats, 8)
    with psycopg.connect(chats.superuser_url) as first, psycopg.connect(chats.superuser_url) as second:
        assert first.execute(_ADMIT).fetchone() == ("free",)
        assert second.execute(_ADMIT).fetchone() == ("busy",)
        second.rollback()
        first.rollback()
        assert second.execute(_ADMIT).fetchone() == ("free",)


def test_while_a_turn_gives_places_away_who_asks_is_told_that_it_is_busy(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 3)
    set_places(chats, 20)
    with chats.runtime.database.transaction() as connection, psycopg.connect(chats.superuser_url) as other:
        assert len(dispatch.take_turn(connection, NO_LIMITS).dispatched) == 3
        assert other.execute(_ADMIT).fetchone() == ("busy",)


def test_while_one_gives_places_away_no_other_does(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 30)
    set_places(chats, 20)
    with chats.runtime.database.transaction() as connection:
        first = dispatch.take_turn(connection, NO_LIMITS)  # not seen by others before the commit
        submit(chats, "guest")  # goes before the rest of ann's, so it is another chat that a second turn would choose
        second = take_turn(chats)
    assert (len(first.dispatched), second.dispatched, second.busy) == (23, (), True)
    assert taken(chats) == 23


def test_a_message_that_merely_waits_is_not_sent_again(chats: Chats) -> None:
    set_places(chats, 2)
    running = submit(chats, "ann", 2)
    waiting, _ = submit(chats, "ann", 2)
    take_turn(chats)
    run = chats.catalogue.run
    for chat_id in running:
        run("UPDATE llm_chats SET status = 'running', lease_until = now() + interval '1 h' WHERE id = :id", id=chat_id)
    run("UPDATE llm_chats SET publish_at = now()")
    assert resent(chats) == [], "all places are taken: the message of the reserve waits"
    run("UPDATE llm_chats SET dispatched_at = now() + interval '1 s' WHERE id = :id", id=running[0])
    assert resent(chats) == [waiting], "one that was dispatched later has been claimed"


def test_chats_that_wait_for_their_turn_get_no_message_from_upkeep(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 3)
    chats.catalogue.run("UPDATE llm_chats SET publish_at = now() - interval '1 h', created_at = now() - interval '1 h'")
    set_places(chats, 100)
    assert resent(chats) == []


def resent(chats: Chats) -> list[uuid.UUID]:
    with chats.runtime.database.transaction() as connection:
        return [each.chat_id for each in sweeper.sweep(connection, max_attempts=3).resend]


def test_more_callers_than_are_compared_at_once_come_around(chats: Chats) -> None:
    set_places(chats, 0)
    first = [f"caller {n:04}" for n in range(dispatch.CALLERS_AT_ONCE)]
    last = [f"later caller {n:04}" for n in range(50)]
    for subject in first:
        submit(chats, subject, 2)  # so that all of them wait before each of the turns
    for subject in last:
        submit(chats, subject)
    seen, after = Counter[str](), ""
    for turn_number in range(1, 4):
        set_places(chats, 90 * turn_number)  # room for 99 more each time
        turn = take_turn(chats, after=after)
        seen += subjects_of(chats, turn)
        after = turn.after
    assert set(seen) == {*first, *last}


# ---- the order, against a model of a few lines


def expected(
    waiting: Mapping[str, Sequence[uuid.UUID]],
    loads: Mapping[str, int],
    weights: Mapping[str, float],
    limits: Mapping[str, int],
    room: int,
) -> list[uuid.UUID]:
    """One place after the other goes to the caller with the fewest for its weight, the oldest chat first."""
    left = {subject: list(ids) for subject, ids in waiting.items()}
    have = Counter(loads)
    order: list[uuid.UUID] = []
    while len(order) < room:
        able = [s for s, ids in left.items() if ids and have[s] < limits.get(s, 10**9)]
        if not able:
            break
        chosen = min(able, key=lambda s: (have[s] / weights.get(s, 1.0), left[s][0]))
        order.append(left[chosen].pop(0))
        have[chosen] += 1
    return order


SUBJECTS = st.sampled_from(["ann", "ben", "carl", "dora", "Zoë", ""])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    waiting=st.lists(SUBJECTS, max_size=40),
    running=st.lists(SUBJECTS, max_size=12),
    weights=st.dictionaries(SUBJECTS, st.sampled_from([0.5, 1.0, 2.0, 3.0])),
    limits=st.dictionaries(SUBJECTS, st.integers(1, 6)),
    number=st.integers(0, 30),
    after=SUBJECTS,
)
def test_a_turn_gives_places_as_the_model_does(
    chats: Chats,
    waiting: list[str],
    running: list[str],
    weights: dict[str, float],
    limits: dict[str, int],
    number: int,
    after: str,
) -> None:
    with psycopg.connect(chats.superuser_url, autocommit=True) as connection:
        connection.execute("TRUNCATE llm_chats, llm_callers")
        for subject in {*weights, *limits}:
            connection.execute(
                "INSERT INTO llm_callers (subject, weight, max_running) VALUES (%s, %s, %s)",
                (subject, weights.get(subject), limits.get(subject)),
            )
        ids = [uuid.UUID(int=n + 1) for n in range(len(waiting) + len(running))]
        rows = [(i, s, "queued", None, None) for i, s in zip(ids, waiting, strict=False)]
        rows += [
            (i, s, "running", "2026-01-01", "2100-01-01") for i, s in zip(ids[len(waiting) :], running, strict=True)
        ]
        connection.cursor().executemany(
            "INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,"
            " deadline_at, status, dispatched_at, lease_until)"
            " VALUES (%s, %s, '', 'q', 'k', 'n', 1, '2100-01-01', %s, %s, %s)",
            rows,
        )
    set_places(chats, number)
    lines: dict[str, list[uuid.UUID]] = {}
    for chat_id, subject in zip(ids, waiting, strict=False):
        lines.setdefault(subject, []).append(chat_id)
    room = max(0, (number + 1 + number // 10 if number else 0) - len(running))
    wanted = expected(lines, Counter(running), weights, limits, room)
    turn = take_turn(chats, after=after)
    assert {each.chat_id for each in turn.dispatched} == set(wanted)


# ---- what a waiting chat is told


def test_a_waiting_chat_says_where_it_stands_and_why(chats: Chats) -> None:
    set_places(chats, 2)
    flood = submit(chats, "flood", 12)
    take_turn(chats)
    (guest,) = submit(chats, "guest")
    shown = [chats.shown(chat_id) for chat_id in (flood[0], guest, flood[-1])]
    assert [(each["waiting_for"], each["position"]) for each in shown] == [("turn", 1), ("turn", 1), ("turn", 10)]


def test_the_answer_to_the_post_says_where_a_chat_stands(chats: Chats) -> None:
    set_places(chats, 1)
    positions = [(chats.ask(f"Which {number}?").json or {})["position"] for number in range(4)]
    assert positions == [1, 1, 2, 3], "the first has the place"


def test_who_waits_for_its_own_limit_is_told_so(chats: Chats) -> None:
    chats.catalogue.run("INSERT INTO llm_callers (subject, max_running) VALUES ('ann', 1)")
    first, second = submit(chats, "ann", 2)
    assert [chats.shown(each)["waiting_for"] for each in (first, second)] == ["turn", "limit"]


def test_a_chat_that_runs_or_has_ended_stands_nowhere(chats: Chats) -> None:
    (ended,) = submit(chats, "ann")
    chats.process().run(ended)
    shown = chats.shown(ended)
    assert "waiting_for" not in shown
    assert "position" not in shown


def test_events_tell_where_a_chat_stands(chats: Chats) -> None:
    set_places(chats, 0)
    submit(chats, "ann", 3)
    (last,) = submit(chats, "ann")
    response = chats.call("GET", f"/api/chats/{last}/events", ANN, buffered=False)
    pieces = response.iter_encoded()
    assert next(pieces).startswith(b":")
    event = next(pieces).decode()
    response.close()
    assert '"waiting_for":"turn","position":4' in event


def test_who_holds_the_lock_and_does_nothing_loses_it(chats: Chats) -> None:
    """As a process that is stopped between two statements."""
    set_places(chats, 0)
    submit(chats, "ann", 3)
    set_places(chats, 10)
    with pytest.raises(DatabaseUnavailable), chats.runtime.database.transaction() as stopped:
        assert len(dispatch.take_turn(stopped, NO_LIMITS).dispatched) == 3
        assert take_turn(chats).busy
        wait_for(lambda: not take_turn(chats).busy, seconds=30)
        assert taken(chats) == 3, "what was not committed has been dispatched by another"
        stopped.exec_driver_sql("SELECT 1")


def test_a_full_house_keeps_the_rotation_where_it_is(chats: Chats) -> None:
    set_places(chats, 1)
    submit(chats, "ann", 5)
    take_turn(chats)
    turn = take_turn(chats, after="caller 17")
    assert (turn.dispatched, turn.waiting, turn.after) == ((), True, "caller 17")
