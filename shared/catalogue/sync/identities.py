"""Which row a model's key, order, overrides and default belong to: they follow the model's name between ids. Pure.

A model has one *main* key, and rows of the same name that came later have it with a suffix. A row that a model moved
away from is *left behind*: it keeps the key with its id as suffix, and is inactive until it is listed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from shared.catalogue.facts.names import same_words, slug
from shared.catalogue.sync.draft import HIDDEN, MOVED_TO, Describe, Draft, NameIndex, is_hidden, is_left_behind
from shared.catalogue.sync.parse import Entry
from shared.catalogue.sync.rows import Json, ModelRow


@dataclass(frozen=True, slots=True)
class Placement:
    """Ids of entries that got another identity than their row had; of rows whose model is listed under another id that
    did not have it before this list; of rows that mean another model now.
    """

    ids: Set[int]
    moved_away: Set[int]
    repointed: Set[int]


def place(
    draft: Draft,
    before: Mapping[int, ModelRow],
    entries: Sequence[Entry],
    absent: Sequence[ModelRow],
    describe: Describe,
) -> Placement:
    """Give every entry that is new under its id, or comes back to it, a row and a key."""
    keys = _KeysInUse(before, draft.retired)
    new_identities = {
        entry.matcha_llm_id: entry for entry in entries if _is_new_identity(before.get(entry.matcha_llm_id), entry)
    }
    returned = [
        entry
        for entry in entries
        if entry.matcha_llm_id not in new_identities and is_left_behind(before[entry.matcha_llm_id])
    ]
    copies = [
        entry
        for entry in entries
        if entry.matcha_llm_id not in new_identities
        and not is_left_behind(before[entry.matcha_llm_id])
        and keys.main_of(before[entry.matcha_llm_id]) is not None
    ]
    leaving = [before[id_] for id_ in new_identities if id_ in before]
    moves = _moves(returned, new_identities.values(), copies, before, [*absent, *leaving], keys)

    vacant_ids = {row.matcha_llm_id for row in (*moves.values(), *leaving)} | moves.keys()
    draft.holders.update((row.model_key, id_) for id_, row in before.items() if id_ not in vacant_ids)
    draft.retired.update((before[id_].model_key, before[id_].upstream_name) for id_ in vacant_ids if id_ in before)

    names = {entry.matcha_llm_id: entry for entry in (*returned, *new_identities.values(), *copies)}
    new_keys = {id_: draft.claim(row.model_key, id_, names[id_].name) for id_, row in moves.items()}
    moved_away = {
        row.matcha_llm_id for id_, row in moves.items() if id_ in new_identities or is_left_behind(before[id_])
    }
    for id_, row in moves.items():
        if (old_id := row.matcha_llm_id) not in new_identities:
            main_key = keys.main_of(row) or row.model_key
            _leave_behind(draft, draft.after[old_id], id_, main_key, moved_away=old_id in moved_away)
    for entry in entries:
        id_ = entry.matcha_llm_id
        if id_ in moves or id_ in new_identities:
            _put(draft, before.get(id_), entry, moves.get(id_), new_keys.get(id_), describe)
    _restore_main_keys(draft, names.values(), keys)

    return Placement(new_identities.keys() | moves.keys(), moved_away, new_identities.keys() & before.keys())


def _is_new_identity(row: ModelRow | None, entry: Entry) -> bool:
    """Whether the row of this id is another model's, or there is none."""
    return row is None or not same_words(row.upstream_name, entry.name)


class _KeysInUse:
    """Tells a main key from one that was made of it by a suffix: by what the keys mean, not by their looks alone."""

    def __init__(self, before: Mapping[int, ModelRow], retired: Mapping[str, str]) -> None:
        self._former_names = {**retired, **{row.model_key: row.upstream_name for row in before.values()}}

    def main_of(self, row: ModelRow) -> str | None:
        """The main key that this row's is made of; None where the row has a main key itself."""
        if "model_key" in row.overrides:
            return None
        stem, main = row.model_key, None
        while True:
            stem, _, tail = stem.rpartition("-")
            if not stem or not tail.isdecimal():
                return main
            former_name = self._former_names.get(stem)
            if former_name is not None and same_words(former_name, row.upstream_name):
                main = stem


def _moves(
    returned: Iterable[Entry],
    new_identities: Iterable[Entry],
    copies: Iterable[Entry],
    before: Mapping[int, ModelRow],
    orphans: Iterable[ModelRow],
    keys: _KeysInUse,
) -> dict[int, ModelRow]:
    """The id of an entry -> the row of the same name whose identity goes there. `orphans`: rows without their model.

    An identity goes to an id that had this model before, else to an id that is new to it. To a row of the same name
    that has been listed all the time goes only a main key, of a model that nobody hid.
    """
    by_rank = {
        (is_hidden(row), keys.main_of(row) is not None, not row.is_active, row.matcha_llm_id): row
        for row in orphans
        if not is_left_behind(row)
    }
    in_order = sorted(by_rank.items())
    used_ids: set[int] = set()
    everyone = NameIndex((row for _, row in in_order), used_ids)
    orphan_ids = {row.matcha_llm_id for row in by_rank.values()}
    moves: dict[int, ModelRow] = {}
    # Of several ids that had it, the one that it left last: where it went from there is a row without its model now.
    latest = sorted(
        returned, key=lambda entry: before[entry.matcha_llm_id].provenance[MOVED_TO]["value"] not in orphan_ids
    )
    for entry in (*latest, *new_identities):
        if (row := everyone.take(entry.name)) is not None:
            moves[entry.matcha_llm_id] = row
    main = NameIndex((row for (hidden, is_copy, *_), row in in_order if not hidden and not is_copy), used_ids)
    for entry in copies:
        if (row := main.take(entry.name)) is not None:
            moves[entry.matcha_llm_id] = row
    return moves


def _leave_behind(draft: Draft, row: ModelRow, new_id: int, main_key: str, *, moved_away: bool) -> None:
    """Take a row's identity from it. `moved_away`: its model takes the row's place in the listing, so that nothing
    goes; where another row of the name has been listed all the time, the listing loses one, which `plan` writes.
    """
    key = draft.claim(f"{main_key}-{row.matcha_llm_id}", row.matcha_llm_id, row.upstream_name)
    note = {MOVED_TO: {"source": "upstream", "value": new_id}}
    remnant = replace(row, model_name=row.upstream_name, model_key=key, is_default=False, overrides={}, provenance=note)
    draft.put("moved", replace(remnant, is_active=row.is_active and not moved_away))


def _put(
    draft: Draft, old: ModelRow | None, entry: Entry, source: ModelRow | None, key: str | None, describe: Describe
) -> None:
    """Write the row of an entry that was placed, with the identity of `source` where a model brings one along."""
    id_ = entry.matcha_llm_id
    same_model = old is not None and not _is_new_identity(old, entry)
    overrides: Json = {} if source is None else source.overrides
    if source is None and draft.is_hidden_name(entry.name):
        overrides = dict(HIDDEN)
    was_default = source is not None and source.is_default
    if old is not None and same_model:
        was_default = was_default or old.is_default
        if not is_left_behind(old):  # what an operator set on this row stays
            overrides = {**overrides, **{name: value for name, value in old.overrides.items() if name != "is_active"}}
    facts = describe(entry, overrides.get("capabilities", {}))
    if key is None:
        key = draft.claim(_wanted_key(draft, facts.key or slug(entry.name), entry), id_, entry.name)
    order = facts.display_order if source is None else source.display_order
    row = ModelRow(
        matcha_llm_id=id_,
        model_name=entry.name,
        model_key=key,
        provider=facts.provider,
        capabilities=facts.capabilities,
        is_active=bool(overrides.get("is_active", True)),
        is_default=was_default and bool(overrides.get("is_active", True)),
        display_order=overrides.get("display_order", order),
        overrides=overrides,
        provenance=facts.provenance,
    )
    row = with_name(_with_key_note(row, source), entry)
    if source is None or not (old is None or same_model):
        draft.put("added" if old is None else "repointed", row)
    else:
        draft.put_moved(row, source.matcha_llm_id)


def _wanted_key(draft: Draft, own: str, entry: Entry) -> str:
    """The key that a row asks for: what its name makes (`own`), or one by which this name was known before."""
    if own and draft.may_have(own, entry.name):
        holder = draft.holder_of(own)
        if holder is not None and same_words(holder.upstream_name, entry.name):
            return own
        if holder is None:
            return own if own in draft.retired else draft.former_key(entry.name) or own
    return draft.key_of_name(entry.name) or draft.former_key(entry.name) or own or f"model-{entry.matcha_llm_id}"


def _restore_main_keys(draft: Draft, entries: Iterable[Entry], keys: _KeysInUse) -> None:
    """Give rows that are listed under a suffixed key the main one, where nobody has it any more."""
    for entry in entries:
        row = draft.after[entry.matcha_llm_id]
        main = keys.main_of(row)
        if main is None or main in draft.holders or not draft.may_have(main, entry.name):
            continue
        del draft.holders[row.model_key]
        draft.retired[row.model_key] = row.upstream_name
        draft.holders[main] = row.matcha_llm_id
        draft.put("moved", replace(row, model_key=main))


def with_name(row: ModelRow, entry: Entry) -> ModelRow:
    """The row with the name that is shown: an operator's, with upstream's noted below it, or upstream's."""
    if "model_name" not in row.overrides:
        return replace(row, model_name=entry.name)
    below = {"source": "upstream", "value": entry.name}
    provenance = dict(row.provenance) | {"model_name": {"source": "override", "below": below}}
    return replace(row, model_name=str(row.overrides["model_name"]), provenance=provenance)


def _with_key_note(row: ModelRow, source: ModelRow | None) -> ModelRow:
    """A pinned key goes along with its model, and with it the key that lies below."""
    if source is None or "model_key" not in source.provenance:
        return row
    return replace(row, provenance=dict(row.provenance) | {"model_key": source.provenance["model_key"]})
