"""Hundreds of nights of upstream drift and operators' edits, against a simple model of the promises."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.drift import World
from tests.support.examples import examples
from tests.support.soak import soak

PROVIDERS = ("Claude", "GPT", "Gemini", "Llama", "Command R", "Command R+", "文心", "Model")
NAMES = st.builds(
    lambda provider, version, tail: f"{provider} {version}{tail}".strip(),
    st.sampled_from(PROVIDERS),
    st.sampled_from(["", "1", "2", "3.5", "4"]),
    st.sampled_from(["", " Mini", " mini", "-Mini", " Pro", " (Pro)", "!"]),
)
IDS = st.integers(1, 12)
YEARS = 24 * 365 * 3


class Nights(RuleBasedStateMachine):
    """Upstream lists, drops, swaps and brings back; operators edit; the model of the promises watches."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(listed=st.dictionaries(IDS, NAMES, min_size=3, max_size=8))
    def first_night(self, listed: dict[int, str]) -> None:
        self.world.list_as(listed)
        self.world.night(12, force=True)

    @rule(id_=IDS, name=NAMES)
    def upstream_adds_or_repoints(self, id_: int, name: str) -> None:
        self.world.list_as(self.world.upstream | {id_: name})

    @precondition(lambda self: self.world.upstream)
    @rule(data=st.data())
    def upstream_drops(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(sorted(self.world.upstream)))
        self.world.list_as({id_: name for id_, name in self.world.upstream.items() if id_ != gone})

    @precondition(lambda self: len(self.world.upstream) > 1)
    @rule(data=st.data(), number=st.integers(2, 3))
    def upstream_swaps(self, data: st.DataObject, number: int) -> None:
        ids = st.lists(st.sampled_from(sorted(self.world.upstream)), min_size=2, max_size=number, unique=True)
        some = data.draw(ids)
        names = [self.world.upstream[id_] for id_ in (*some[1:], some[0])]
        self.world.list_as(self.world.upstream | dict(zip(some, names, strict=True)))

    @precondition(lambda self: self.world.upstream)
    @rule(data=st.data(), new_id=IDS)
    def upstream_moves(self, data: st.DataObject, new_id: int) -> None:
        upstream = dict(self.world.upstream)
        upstream[new_id] = upstream.pop(data.draw(st.sampled_from(sorted(upstream))))
        self.world.list_as(upstream)

    @precondition(lambda self: self.world.history)
    @rule(data=st.data())
    def upstream_returns_to_an_id(self, data: st.DataObject) -> None:
        id_, name = data.draw(st.sampled_from(self.world.history))
        others = {each: other for each, other in self.world.upstream.items() if other != name}
        self.world.list_as(others | {id_: name})

    @precondition(lambda self: self.world.upstream)
    @rule(data=st.data(), new_id=IDS, hours=st.integers(0, 30), turns=st.integers(1, 4))
    def upstream_flips_and_flops(self, data: st.DataObject, new_id: int, hours: int, turns: int) -> None:
        old_id = data.draw(st.sampled_from(sorted(self.world.upstream)))
        others = {id_: name for id_, name in self.world.upstream.items() if id_ not in (old_id, new_id)}
        name = self.world.upstream[old_id]
        for turn in range(turns):
            self.world.list_as(others | {(new_id, old_id)[turn % 2]: name})
            self.world.night(hours, force=True)

    @rule(garbage=st.lists(st.one_of(st.none(), st.text(max_size=3), st.fixed_dictionaries({"id": IDS}))))
    def upstream_lists_garbage(self, garbage: list[Any]) -> None:
        self.world.garbage = garbage

    @rule(hours=st.one_of(st.integers(0, 30), st.just(YEARS)), force=st.booleans())
    def night(self, hours: int, force: bool) -> None:
        self.world.night(hours, force=force)

    @precondition(lambda self: self.world.rows)
    @rule(data=st.data())
    def operator_edits(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.world.rows))
        edit = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "model_name": st.one_of(st.none(), st.just("Our own name")),
                    "model_key": st.one_of(st.none(), st.sampled_from(["ours", "best", "gpt-4"])),
                    "display_order": st.one_of(st.none(), st.integers(0, 5)),
                    "is_default": st.one_of(st.none(), st.booleans()),
                    "is_active": st.one_of(st.none(), st.booleans()),
                    "capabilities": st.one_of(
                        st.none(), st.fixed_dictionaries({"supports_vision": st.one_of(st.none(), st.booleans())})
                    ),
                },
            )
        )
        self.world.edit(row.matcha_llm_id, edit)


TestNights = Nights.TestCase
TestNights.settings = settings(
    max_examples=examples(50), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_three_hundred_random_nights_break_no_promise() -> None:
    soak(seed=20261125, nights=300)
