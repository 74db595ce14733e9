"""Where a chat stands, against the order itself: one place after the other to the caller with the fewest."""

from __future__ import annotations

import uuid
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.chat.queue_position import CallerInLine, Line, position_of

SUBJECTS = ("ann", "ben", "carl", "dora")


def chats_of(lines: dict[str, int]) -> dict[str, list[uuid.UUID]]:
    """So many chats of each, asked in turn: the order of ids is the order of asking."""
    numbers = iter(range(1, 10_000))
    waiting: dict[str, list[uuid.UUID]] = {subject: [] for subject in lines}
    while any(len(waiting[subject]) < number for subject, number in lines.items()):
        for subject, number in lines.items():
            if len(waiting[subject]) < number:
                waiting[subject].append(uuid.UUID(int=next(numbers)))
    return waiting


def order_of(waiting: dict[str, list[uuid.UUID]], loads: dict[str, int], weights: dict[str, float]) -> list[uuid.UUID]:
    left, have, order = {s: list(ids) for s, ids in waiting.items()}, Counter(loads), list[uuid.UUID]()
    while any(left.values()):
        chosen = min((s for s, ids in left.items() if ids), key=lambda s: (have[s] / weights.get(s, 1.0), left[s][0]))
        order.append(left[chosen].pop(0))
        have[chosen] += 1
    return order


@given(
    lines=st.dictionaries(st.sampled_from(SUBJECTS), st.integers(1, 12), min_size=1),
    loads=st.dictionaries(st.sampled_from(SUBJECTS), st.integers(0, 6)),
    weights=st.dictionaries(st.sampled_from(SUBJECTS), st.sampled_from([0.5, 1.0, 2.0])),
)
def test_the_position_is_the_place_in_the_order_but_for_ties(
    lines: dict[str, int], loads: dict[str, int], weights: dict[str, float]
) -> None:
    waiting = chats_of(lines)
    line = Line({
        subject: CallerInLine(loads.get(subject, 0), weights.get(subject, 1.0), None, len(ids), ids[0])
        for subject, ids in waiting.items()
    })  # fmt: skip
    order = order_of(waiting, loads, weights)
    for subject, ids in waiting.items():
        for ahead, chat_id in enumerate(ids):
            place = position_of(line, chat_id, subject, ahead=ahead).position
            assert abs(place - (order.index(chat_id) + 1)) < len(lines), (subject, ahead)


def test_a_guest_stands_first_whatever_the_flood() -> None:
    flood, guest = uuid.UUID(int=1), uuid.UUID(int=900)
    line = Line({
        "flood": CallerInLine(load=20, waiting=100, oldest=flood), "guest": CallerInLine(waiting=1, oldest=guest)
    })  # fmt: skip
    assert position_of(line, guest, "guest", ahead=0).position == 1
    assert position_of(line, flood, "flood", ahead=50).position == 52


def test_a_caller_at_its_limit_and_a_gateway_at_its_limit_say_so() -> None:
    chat_id = uuid.UUID(int=1)
    line = Line({"ann": CallerInLine(load=1, max_running=2, waiting=2, oldest=chat_id)})
    assert [position_of(line, chat_id, "ann", ahead=ahead).waiting_for for ahead in (0, 1)] == ["turn", "limit"]
    assert position_of(Line(limited=True), chat_id, "ben", ahead=0).waiting_for == "limit"


def test_of_a_caller_at_its_limit_no_more_go_before_than_may() -> None:
    mine, theirs = uuid.UUID(int=9), uuid.UUID(int=1)
    line = Line({"held": CallerInLine(load=2, max_running=2, waiting=50, oldest=theirs)})
    assert position_of(line, mine, "ann", ahead=7).position == 8
