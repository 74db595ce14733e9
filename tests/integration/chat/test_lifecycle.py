"""Claims, leases, fences, sweeps and retention, statement by statement."""

import threading
import uuid
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.statements import execute
from shared.chat import claims, counting, dispatch, figures, lifecycle, read, sweeper, usage
from shared.chat.claims import ChatClaim
from shared.chat.lifecycle import Finish, Release
from shared.chat.sweeper import SweepResult
from shared.db import DatabaseError
from shared.vocabulary import CHAT_CLASSES
from tests.integration.chat.conftest import ANN, Chats


def claim(chats: Chats, *chat_ids: uuid.UUID, lease_seconds: float = 30, max_attempts: int = 3) -> list[ChatClaim]:
    with chats.runtime.database.transaction() as connection:
        by_id = claims.claim(connection, chat_ids, lease_seconds=lease_seconds, max_attempts=max_attempts)
    return list(by_id.values())


def finish(chats: Chats, *finishes: Finish) -> set[uuid.UUID]:
    with chats.runtime.database.transaction() as connection:
        return execute(connection, lifecycle.finish(finishes))


def sweep(chats: Chats, *, max_attempts: int = 3) -> SweepResult:
    with chats.runtime.database.transaction() as connection:
        return sweeper.sweep(connection, max_attempts=max_attempts)


def success(held: ChatClaim, answer: str = "An answer.") -> Finish:
    return Finish(held.chat_id, held.attempt, "succeeded", held.model, answer=answer, tries=1, upstream_ms=1200)


def lose_lease(chats: Chats, chat_id: uuid.UUID) -> None:
    chats.catalogue.run("UPDATE llm_chats SET lease_until = now() - interval '1 second' WHERE id = :id", id=chat_id)


def test_a_renewal_waits_for_nobody_and_keeps_what_is_being_written(chats: Chats) -> None:
    held = claim(chats, chats.submit(), chats.submit())
    attempts = {each.chat_id: each.attempt for each in held}
    before = {chat_id: chats.row(chat_id)["lease_until"] for chat_id in attempts}
    finishing, being_claimed = held[0].chat_id, chats.submit()
    with psycopg.connect(chats.superuser_url) as other:
        other.execute("SELECT FROM llm_chats WHERE id = ANY(%s) FOR UPDATE", ([finishing, being_claimed],))
        with chats.runtime.database.transaction(timeout_seconds=5) as connection:
            claims.postpone(connection, [*attempts, being_claimed], seconds=60)
            assert claims.renew(connection, attempts, lease_seconds=600) == set(attempts)
    renewed = {chat_id for chat_id in attempts if chats.row(chat_id)["lease_until"] > before[chat_id]}
    assert renewed == {held[1].chat_id}


def dispatched_now(chats: Chats) -> tuple[dispatch.DispatchedChat, ...]:
    with chats.runtime.database.transaction() as connection:
        return dispatch.take_turn(connection, dispatch.NO_LIMITS).dispatched


def test_a_message_that_redis_did_not_take_counts_as_not_sent(chats: Chats) -> None:
    chat_id = chats.submit()
    with chats.runtime.database.transaction() as connection:
        dispatch.take_back(connection, [chat_id], seconds=5)
    for _ in range(6):
        chats.catalogue.run("UPDATE llm_chats SET publish_at = now()")
        assert [each.chat_id for each in dispatched_now(chats)] == [chat_id]
        with chats.runtime.database.transaction() as connection:
            dispatch.take_back(connection, [chat_id], seconds=5)
    (row,) = chats.catalogue.run("SELECT publishes, publish_at < now() + interval '6 seconds' AS soon FROM llm_chats")
    assert (row["publishes"], row["soon"]) == (0, True)


def test_a_chat_whose_message_may_come_nevertheless_keeps_its_place(chats: Chats) -> None:
    maybe_sent, unsent = chats.submit(), chats.submit()
    assert {each.chat_id for each in dispatched_now(chats)} <= {maybe_sent, unsent}
    with chats.runtime.database.transaction() as connection:
        dispatch.take_back(connection, [maybe_sent, unsent], seconds=5, maybe_sent=maybe_sent)
    assert [chats.row(each)["dispatched_at"] is None for each in (maybe_sent, unsent)] == [False, True]


def test_a_chat_is_claimed_by_one(chats: Chats) -> None:
    chat_id = chats.submit()
    claims: list[ChatClaim] = []
    threads = [threading.Thread(target=lambda: claims.extend(claim(chats, chat_id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [held.attempt for held in claims] == [1]


def failure(held: ChatClaim) -> Finish:
    return Finish(held.chat_id, held.attempt, "failed", held.model, error_code="timeout", error_detail="Late.", tries=1)


def test_whoever_has_an_answer_first_writes_it_while_the_chat_is_open(chats: Chats) -> None:
    chat_id = chats.submit()
    (first,) = claim(chats, chat_id)
    assert claim(chats, chat_id) == []
    lose_lease(chats, chat_id)
    (second,) = claim(chats, chat_id)

    assert finish(chats, failure(first)) == set(), "another has taken it since"
    with chats.runtime.database.transaction() as connection:
        assert execute(connection, lifecycle.release([Release(chat_id, first.attempt)])) == set()
        assert claims.renew(connection, {chat_id: first.attempt}, lease_seconds=30) == {chat_id}
    assert finish(chats, success(first, "of the first")) == {chat_id}
    assert finish(chats, success(second, "of the second")) == set()
    with chats.runtime.database.transaction() as connection:
        assert claims.still_open(connection, [chat_id]) == set()
    assert chats.row(chat_id)["answer"] == "of the first"
    with chats.runtime.database.transaction() as connection:
        assert usage.requests_of(connection, ["claude-3-7-sonnet"], days=1)["claude-3-7-sonnet"]["request_count"] == 1


def test_what_came_of_an_attempt_whose_lease_ran_out_counts_until_another_takes_it(chats: Chats) -> None:
    answered, failed = chats.submit(), chats.submit()
    held = {each.chat_id: each for each in claim(chats, answered, failed)}
    for chat_id in held:
        lose_lease(chats, chat_id)
    assert set(sweep(chats).lost_leases) == {answered, failed}

    assert finish(chats, success(held[answered]), failure(held[failed])) == {answered, failed}
    assert [chats.row(chat_id)["status"] for chat_id in (answered, failed)] == ["succeeded", "failed"]


def test_a_lease_is_never_renewed_past_the_deadline(chats: Chats) -> None:
    chat_id = chats.submit()
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() + interval '10 seconds'")
    (held,) = claim(chats, chat_id, lease_seconds=600)
    ends = "SELECT extract(epoch FROM lease_until - deadline_at)::float8 AS seconds, lease_until FROM llm_chats"
    (claimed,) = chats.catalogue.run(ends)
    with chats.runtime.database.transaction() as connection:
        claims.renew(connection, {chat_id: held.attempt}, lease_seconds=600)
    (renewed,) = chats.catalogue.run(ends)
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '1 second', lease_until = now()")
    (before,) = chats.catalogue.run(ends)
    with chats.runtime.database.transaction() as connection:
        claims.renew(connection, {chat_id: held.attempt}, lease_seconds=600)
    (after,) = chats.catalogue.run(ends)
    assert claimed["seconds"] == renewed["seconds"] == claims.DEADLINE_GRACE_SECONDS
    assert after["lease_until"] == before["lease_until"]


def test_answers_of_every_kind_of_text_are_stored_as_they_are(chats: Chats) -> None:
    answers = ["", '"' * 100_000, "\\,{}NULL", "NULL", "é☃😀\n\t", "a" * 3_900_000]
    held = {each.chat_id: each for each in claim(chats, *[chats.submit() for _ in answers])}
    wanted = dict(zip(held, answers, strict=True))
    failing = claim(chats, chats.submit())[0]
    finish(chats, *[success(held[chat_id], text) for chat_id, text in wanted.items()], failure(failing))
    stored = {row["id"]: row["answer"] for row in chats.catalogue.run("SELECT id, answer FROM llm_chats")}
    assert stored == {**wanted, failing.chat_id: None}


def test_a_returned_attempt_is_not_counted_and_its_number_does_not_come_back(chats: Chats) -> None:
    chat_id = chats.submit()
    for attempt in range(1, 8):  # more often than there are attempts
        (held,) = claim(chats, chat_id, max_attempts=3)
        assert held.attempt == attempt
        with chats.runtime.database.transaction() as connection:
            assert execute(connection, lifecycle.release([Release(chat_id, held.attempt, 1, "It is down.")])) == {
                chat_id
            }
    row = chats.row(chat_id)
    assert (row["attempt"] - row["attempts_returned"], row["tries"], row["last_failure"]) == (0, 7, "It is down.")


def test_lost_leases_are_queued_again_until_the_attempts_are_used_up(chats: Chats) -> None:
    chat_id = chats.submit()
    for attempt in (1, 2):
        (held,) = claim(chats, chat_id, max_attempts=2)
        lose_lease(chats, chat_id)
        swept = sweep(chats, max_attempts=2)
        assert (held.attempt, swept.lost_leases, swept.changed) == (attempt, (chat_id,), (chat_id,))
    row = chats.row(chat_id)
    assert (row["status"], row["error_code"]) == ("failed", "attempts_exhausted")
    assert claim(chats, chat_id) == []
    assert swept.ended == {chat_id: "failed"}
    assert swept.resend == ()


def test_a_sweep_leaves_those_whose_lease_lasts(chats: Chats) -> None:
    (held,) = claim(chats, chats.submit())
    assert sweep(chats) == SweepResult()
    assert chats.row(held.chat_id)["status"] == "running"


def test_a_chat_whose_attempts_are_used_up_is_not_claimed(chats: Chats) -> None:
    """Nobody has swept it yet: its lease ran out, and a message for it came."""
    chat_id = chats.submit()
    for _ in range(2):
        assert claim(chats, chat_id, max_attempts=2)
        lose_lease(chats, chat_id)
    assert claim(chats, chat_id, max_attempts=2) == []


def test_a_lost_message_is_sent_again_with_growing_pauses(chats: Chats) -> None:
    chat_id = chats.submit()
    assert sweep(chats).resend == (), "its first message may still be on its way"
    pauses = []
    for _ in range(6):
        chats.catalogue.run("UPDATE llm_chats SET publish_at = now()")
        assert [each.chat_id for each in sweep(chats).resend] == [chat_id]
        assert sweep(chats).resend == ()
        (row,) = chats.catalogue.run("SELECT round(extract(epoch FROM publish_at - now())) AS pause FROM llm_chats")
        pauses.append(int(row["pause"]))
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_sweeps_at_the_same_time_take_nothing_twice(chats: Chats) -> None:
    chat_ids = {chats.submit() for _ in range(40)}
    chats.catalogue.run("UPDATE llm_chats SET publish_at = now()")
    taken: list[uuid.UUID] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(each.chat_id for each in sweep(chats).resend)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(chat_ids)


def test_a_sweep_leaves_what_another_is_taking(chats: Chats) -> None:
    chat_id = chats.submit()
    chats.catalogue.run("UPDATE llm_chats SET publish_at = now()")
    database = chats.runtime.database
    with database.transaction() as first:
        assert [each.chat_id for each in sweeper.sweep(first, max_attempts=3).resend] == [chat_id]
        with database.transaction(lock_seconds=0.2) as second:
            assert sweeper.sweep(second, max_attempts=3) == SweepResult()


def test_a_chat_in_hand_needs_no_message(chats: Chats) -> None:
    chat_id = chats.submit()
    chats.catalogue.run("UPDATE llm_chats SET publish_at = now()")
    with chats.runtime.database.transaction() as connection:
        claims.postpone(connection, [chat_id], seconds=30)
    assert sweep(chats).resend == ()


def test_what_is_past_its_deadline_expires_with_the_last_failure_as_its_cause(chats: Chats) -> None:
    waiting, dead, alive = (chats.submit() for _ in range(3))
    for chat_id in (dead, alive):
        claim(chats, chat_id)
    lose_lease(chats, dead)
    chats.catalogue.run(
        "UPDATE llm_chats SET deadline_at = now() - interval '1 second', last_failure = 'It is down.',"
        " last_failure_code = 'timeout'"
    )
    swept = sweep(chats)
    assert swept.ended == {waiting: "expired", dead: "expired"}
    assert chats.row(alive)["status"] == "running", "whoever holds it has a moment to write what it has"
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '3 seconds' WHERE id = :id", id=alive)
    assert sweep(chats).ended == {alive: "expired"}
    row = chats.row(waiting)
    assert row["error_code"] == "expired"
    assert row["error_detail"] == "Not answered within its deadline of -1 s. It never had its turn."
    assert row["error_cause"] == "It is down."
    assert chats.row(alive)["error_detail"].endswith("The last failure: timeout.")
    assert claim(chats, waiting, dead) == []


def test_a_chat_past_its_deadline_is_not_claimed(chats: Chats) -> None:
    """Nobody has swept it yet."""
    chat_id = chats.submit()
    chats.catalogue.run("UPDATE llm_chats SET deadline_at = now() - interval '1 second'")
    assert claim(chats, chat_id) == []


def test_one_that_cannot_be_written_takes_no_other_along(chats: Chats) -> None:
    """A group falls back to one by one; see BatchWriter."""
    good, bad = chats.submit(), chats.submit()
    held = {each.chat_id: each for each in claim(chats, good, bad)}
    impossible = replace(success(held[bad]), answer=None)  # a success without an answer
    with pytest.raises(DatabaseError):
        finish(chats, success(held[good]), impossible)
    assert finish(chats, success(held[good])) == {good}


def test_old_chats_are_deleted_in_batches_and_open_ones_never(chats: Chats) -> None:
    old, fresh, open_still = (chats.submit() for _ in range(3))
    for chat_id in (old, fresh):
        finish(chats, *[success(held) for held in claim(chats, chat_id)])
    chats.catalogue.run("UPDATE llm_chats SET finished_at = now() - interval '31 days' WHERE id = :id", id=old)
    chats.catalogue.run("UPDATE llm_chats SET created_at = now() - interval '99 days'")

    def retire(limit: int) -> int:
        with chats.runtime.database.transaction() as connection:
            return sweeper.delete_finished(connection, older_than_days=30, limit=limit)

    assert (retire(0), retire(10), retire(10)) == (0, 1, 0)
    left = {row["id"] for row in chats.catalogue.run("SELECT id FROM llm_chats")}
    assert left == {fresh, open_still}
    with chats.runtime.database.transaction() as connection:
        assert figures.figures(connection).outcomes["claude-3-7-sonnet", "succeeded"] == 2


def test_usage_adds_up_over_groups_models_and_days(chats: Chats) -> None:
    ended = [
        counting.EndedChat("a", "succeeded", None, 240, subject="ann"),
        counting.EndedChat("a", "succeeded", "unknown_key", 700_000, subject="ann"),
        counting.EndedChat("a", "failed", "unknown_key", subject="ann"),
        counting.EndedChat("b", "expired", "retired_key", subject="ann"),
    ]
    for _ in range(2):
        with chats.runtime.database.transaction() as connection:
            counting.count(connection, ended)
    chats.catalogue.run("UPDATE llm_usage_stats SET day = day - 1 WHERE model_key = 'b'")
    with chats.runtime.database.transaction() as connection:
        today, both = usage.by_model(connection, days=1), usage.by_model(connection, days=2)
        totals = figures.figures(connection)
    assert [each["model_key"] for each in today] == ["a"]
    a, b = both
    assert (a["request_count"], a["successes"], a["failures"], a["fallbacks"]) == (6, 4, 2, {"unknown_key": 4})
    assert (b["request_count"], b["expired"], b["fallbacks"]) == (2, 2, {"retired_key": 2})
    buckets = {bucket["up_to_ms"]: bucket["count"] for bucket in a["latency"]["buckets"]}
    assert (buckets[250], buckets[None], sum(buckets.values())) == (2, 2, 4)
    assert a["latency"]["mean_ms"] == round((240 + 700_000) / 2)
    assert totals.fallbacks == {"unknown_key": 4, "retired_key": 2}
    assert totals.outcomes["b", "expired"] == 2


ENDED = st.builds(
    counting.EndedChat,
    st.sampled_from("abc"),
    st.sampled_from(sorted(counting.OUTCOMES)),
    st.sampled_from([None, "unknown_key", "retired_key"]),
    st.sampled_from([None, 1, 700_000]),
    st.sampled_from([None, "nonsense"]),
    subject=st.sampled_from(["ann", "ben"]),
    chat_class=st.sampled_from(CHAT_CLASSES),
    wait_ms=st.integers(0, 700_000),
)
DAYS = "SELECT model_key, sum(request_count)::bigint AS n, sum(latency_ms)::bigint AS ms FROM {} GROUP BY 1 ORDER BY 1"


@given(groups=st.lists(st.lists(ENDED, max_size=6), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_are_the_days_added_up_and_never_fall(chats: Chats, groups: list[list[counting.EndedChat]]) -> None:
    with chats.runtime.database.transaction() as connection:
        before = figures.figures(connection)
    for number, group in enumerate(groups):
        with chats.runtime.database.transaction() as connection:
            counting.count(connection, group)
        chats.catalogue.run("UPDATE llm_usage_stats SET day = day - 1 WHERE :even", even=number % 2 == 0)
    assert chats.catalogue.run(DAYS.format("llm_usage_stats")) == chats.catalogue.run(DAYS.format("llm_usage_totals"))
    with chats.runtime.database.transaction() as connection:
        after, days = figures.figures(connection), usage.by_model(connection, days=3_000)
    assert sum(after.outcomes.values()) - sum(before.outcomes.values()) == sum(map(len, groups))
    for shown in days:
        for status, column in counting.OUTCOMES.items():
            assert after.outcomes[shown["model_key"], status] == shown[column]
    for reason, number in after.fallbacks.items():
        assert number == sum(shown["fallbacks"].get(reason, 0) for shown in days)
        assert number == sum(count for (why, _), count in after.requested.items() if why == reason)
    by_bucket = zip(*([bucket["count"] for bucket in shown["latency"]["buckets"]] for shown in days), strict=True)
    assert list(after.buckets) == [sum(column) for column in by_bucket] or not days
    with psycopg.connect(chats.superuser_url, autocommit=True) as owner:
        owner.execute("DELETE FROM llm_usage_stats WHERE day < current_date")
    with chats.runtime.database.transaction() as connection:
        assert figures.figures(connection) == after
    with psycopg.connect(chats.superuser_url, autocommit=True) as owner:
        owner.execute("TRUNCATE llm_usage_stats, llm_usage_totals")


def test_metrics_read_no_days_and_callers_no_other_chats(chats: Chats) -> None:
    with psycopg.connect(chats.superuser_url, autocommit=True) as owner:
        owner.execute("""
            INSERT INTO llm_usage_stats (model_key, day, request_count, last_used, latency_buckets)
            SELECT 'm' || n % 10, current_date - n / 10, 1, now(), array_fill(1::bigint, ARRAY[13])
            FROM generate_series(0, 4999) AS n
        """)
        owner.execute("""
            INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id,
                                   deadline_at, status, answer, finished_at)
            SELECT gen_random_uuid(), 'sub' || n % 50, '', repeat('q', 500), 'm' || n % 100, 'n', 1, now(),
                   'succeeded', 'a', now()
            FROM generate_series(1, 20000) AS n
        """)
        owner.execute("VACUUM ANALYZE llm_chats")
        owner.execute("ANALYZE llm_usage_stats, llm_usage_totals")
    read = (
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
        " WHERE relname = ANY(%s)"
    )
    with chats.runtime.database.transaction() as connection:
        assert figures.figures(connection).buckets == (5_000,) * 13
        assert usage.callers_of(connection, ["m7", "m9"], days=30) == {"m7": 1, "m9": 1}
        tables = connection.exec_driver_sql(read, (["llm_usage_stats", "llm_chats"],)).all()
        assert dict(tables) == {"llm_usage_stats": 0, "llm_chats": 400}  # those of the two models
        month = usage.by_model(connection, days=30)
        assert {shown["request_count"] for shown in month} == {30}
        assert dict(connection.exec_driver_sql(read, (["llm_usage_stats"],)).all())["llm_usage_stats"] < 2_000


def test_the_daily_work_reads_no_finished_chats(chats: Chats) -> None:
    open_ids = [chats.submit() for _ in range(4)]
    chats.catalogue.run("""
        INSERT INTO llm_chats (id, subject, body_sha256, question, model_key, model_name, matcha_llm_id, deadline_at,
                               status, answer, finished_at)
        SELECT gen_random_uuid(), 'sub' || n % 50, '', 'q', 'k', 'n', 1, now(), 'succeeded', 'a', now()
        FROM generate_series(1, 20000) AS n
    """)
    chats.catalogue.run("UPDATE llm_chats SET publish_at = now() WHERE id = :id", id=open_ids[3])
    with psycopg.connect(chats.superuser_url, autocommit=True) as owner:
        owner.execute("ANALYZE llm_chats")
    with chats.runtime.database.transaction() as connection:
        held = claims.claim(connection, open_ids[:3], lease_seconds=30, max_attempts=3)
        claims.renew(connection, {each.chat_id: each.attempt for each in held.values()}, lease_seconds=30)
        claims.still_open(connection, held)
        execute(connection, lifecycle.finish([success(held[open_ids[0]])]))
        execute(connection, lifecycle.release([Release(open_ids[1], 1)]))
        claims.postpone(connection, [open_ids[1]], seconds=9)
        swept = sweeper.sweep(connection, max_attempts=3)
        sweeper.delete_finished(connection, older_than_days=30, limit=1000)
        execute(connection, read.newer_than(dict.fromkeys(open_ids, 0)))
        figures.figures(connection)
        lifecycle.cancel(connection, open_ids[2], ANN)
        read_whole = "SELECT seq_scan, seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'llm_chats'"
        assert connection.exec_driver_sql(read_whole).one() == (0, 0)
    assert [each.chat_id for each in swept.resend] == [open_ids[3]]
    with chats.runtime.database.transaction(ANN) as connection:
        assert len(read.newest(connection, ANN, limit=50, before=None)) == 4
        assert connection.exec_driver_sql(read_whole).one() == (0, 0)


def test_what_a_refresh_takes_away_is_told_with_its_use(chats: Chats) -> None:
    with chats.runtime.database.transaction() as connection:
        counting.count(connection, [counting.EndedChat("claude-3-5-sonnet", "succeeded", None, 10, subject="ann")] * 41)
        counting.count(connection, [counting.EndedChat("old", "succeeded", None, 10, subject="ann")])
    chats.catalogue.run("UPDATE llm_usage_stats SET day = day - 30 WHERE model_key = 'old'")
    renamed = {"model_key": "gpt-4o"}
    changes = [
        {"kind": "repointed", "model_key": "gpt-5", "before": renamed, "after": {"model_key": "gpt-5"}},
        {"kind": "deactivated", "model_key": "old", "before": {"is_active": True}, "after": {"is_active": False}},
        {"kind": "deactivated", "model_key": "claude-3-5-sonnet", "before": {}, "after": {}},
        {"kind": "renamed", "model_key": "x", "before": {"model_name": "X"}, "after": {"model_name": "Y"}},
        {"kind": "added", "model_key": "gpt-5", "before": None, "after": {"model_key": "gpt-5"}},
    ]
    with chats.runtime.database.transaction() as connection:
        removed = usage.of_removed(connection, changes)
    assert [(each["model_key"], each["kind"], each["request_count"]) for each in removed] == [
        ("claude-3-5-sonnet", "deactivated", 41),
        ("gpt-4o", "repointed", 0),
        ("old", "deactivated", 0),
    ]
    assert removed[0]["last_used"] is not None
