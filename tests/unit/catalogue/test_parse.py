"""Good entries are kept, bad ones are counted and explained, and nothing of either can hurt what comes after."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.sync.parse import MAX_ID, MAX_NAME, Entry, parse_entries

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ENTRY_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-2, 4) | JSON,
        "name": st.text(st.characters(), max_size=6) | JSON,
        "allowed_file_input_mime_types": st.lists(st.sampled_from(["image/png", "", "IMAGE/PNG", 3, None])) | JSON,
    },
)


def reason(entry: object) -> str:
    (rejected,) = parse_entries([entry]).rejected
    return rejected.reason


def name_kept(name: str) -> str:
    (entry,) = parse_entries([{"id": 1, "name": name}]).entries
    return entry.name


def test_an_entry_is_its_id_its_name_and_its_file_types() -> None:
    raw = {"id": 28, "name": "Claude 3.7 Sonnet", "allowed_file_input_mime_types": ["image/PNG", "application/pdf"]}

    assert parse_entries([raw]).entries == (Entry(28, "Claude 3.7 Sonnet", ("image/png", "application/pdf")),)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (None, "not an object but null"),
        (["a"], "not an object but a list"),
        ("GPT-4o", "not an object but text 'GPT-4o'"),
        ({"name": "x"}, "id is missing"),
        ({"id": None, "name": "x"}, "id is null"),
        ({"id": True, "name": "x"}, "id is no integer but true"),
        ({"id": "28", "name": "x"}, "id is no integer but text '28'"),
        ({"id": 28.0, "name": "x"}, "id is no integer but the number 28.0"),
        ({"id": 0, "name": "x"}, "id is not between 1 and 2147483647"),
        ({"id": MAX_ID + 1, "name": "x"}, "id is not between 1 and 2147483647"),
        ({"id": 10**5000, "name": "x"}, "id is not between 1 and 2147483647"),
        ({"id": 1}, "name is missing"),
        ({"id": 1, "name": None}, "name is null"),
        ({"id": 1, "name": 4}, "name is no text but a number"),
        ({"id": 1, "name": ""}, "name is empty"),
        ({"id": 1, "name": " \u200b\u2060 "}, "name is empty"),
        ({"id": 1, "name": "x" * 201}, "name is over 200 characters (201)"),
        ({"id": 1, "name": "\ufdfa" * 20}, "name is over 200 characters (360) when normalised"),
        ({"id": 1, "name": "GPT\x00-4o"}, "name has a control character (U+0000)"),
        ({"id": 1, "name": "GPT-4o\n"}, "name has a control character (U+000A)"),
        ({"id": 1, "name": "GPT\x85"}, "name has a control character (U+0085)"),
        ({"id": 1, "name": "GPT\ud83d"}, "name has half of a surrogate pair (U+D83D)"),
    ],
)
def test_a_bad_entry_is_rejected_with_its_reason(entry: object, expected: str) -> None:
    assert reason(entry) == expected


@pytest.mark.parametrize("id_", [1, MAX_ID])
def test_the_first_and_the_last_id_are_ids(id_: int) -> None:
    assert [entry.matcha_llm_id for entry in parse_entries([{"id": id_, "name": "x"}]).entries] == [id_]


def test_a_name_of_200_characters_is_taken() -> None:
    assert name_kept("x" * MAX_NAME) == "x" * MAX_NAME


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("  GPT-4o   Mini ", "GPT-4o Mini"),
        ("GPT-4o\u200b Mini", "GPT-4o Mini"),  # zero-width space
        ("\ufeffGPT-4o", "GPT-4o"),  # byte order mark
        ("GPT\u00ad-4o", "GPT-4o"),  # soft hyphen
        ("GPT\u00a0-\u20284o", "GPT - 4o"),  # no-break space, line separator
        ("ＧＰＴ－４ｏ", "GPT-4o"),  # full width
        ("Claude™ 4", "Claude 4"),
        ("Cafe\u0301", "Café"),
        ("e\u200b\u0301", "é"),  # an accent that only meets its letter when what is between them goes
        ("通义千问 Max", "通义千问 Max"),
    ],
)
def test_a_name_is_kept_as_it_is_read(raw: str, kept: str) -> None:
    assert name_kept(raw) == kept


def test_everything_that_unicode_calls_a_format_character_is_taken_out_of_names() -> None:
    invisible = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]

    assert {char for char in invisible if name_kept(f"a{char}b") != "ab"} == set()


def test_of_two_entries_with_one_id_the_first_wins_and_the_second_is_explained() -> None:
    parsed = parse_entries([{"id": 7, "name": "First"}, {"id": 7, "name": "Second"}])

    assert [entry.name for entry in parsed.entries] == ["First"]
    assert [(bad.id, bad.name, bad.reason) for bad in parsed.rejected] == [
        (7, "Second", "duplicate id: already listed as 'First'")
    ]


def test_a_bad_entry_takes_its_id_from_no_good_one() -> None:
    parsed = parse_entries([{"id": 7}, {"id": 7, "name": "Good"}])

    assert [entry.name for entry in parsed.entries] == ["Good"]


def test_a_bad_entry_whose_id_is_known_is_seen() -> None:
    assert parse_entries([{"id": 7, "name": "\x00"}, {"id": "8", "name": "x"}]).ids_seen == {7}


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (None, None),
        ([], ()),
        (["image/png", "image/png"], ("image/png",)),
        ("image/png", None),
        ({"image/png": True}, None),
        (["image/png", 3], ("image/png",)),
        ([3, None, ""], None),  # not understood is not "no files"
    ],
)
def test_file_types_that_are_not_understood_are_unknown(raw: Any, kept: tuple[str, ...] | None) -> None:
    parsed = parse_entries([{"id": 1, "name": "x", "allowed_file_input_mime_types": raw}])

    assert parsed.entries == (Entry(1, "x", kept),)


def test_an_entry_without_file_types_says_nothing_about_files() -> None:
    assert parse_entries([{"id": 1, "name": "x"}]).entries[0].mime_types is None


@given(st.lists(ENTRY_LIKE | JSON))
def test_each_listed_entry_is_storable_or_rejected_with_a_reason(raw: list[Any]) -> None:
    parsed = parse_entries(raw)

    assert len(parsed.entries) + len(parsed.rejected) == len(raw)
    ids = [entry.matcha_llm_id for entry in parsed.entries]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= parsed.ids_seen
    assert all(0 < len(entry.name) <= MAX_NAME for entry in parsed.entries)
    expected = [(bad.id, bad.name, bad.reason) for bad in parsed.rejected]
    stored = json.dumps([expected, [(entry.name, entry.mime_types) for entry in parsed.entries]], allow_nan=False)
    assert "\\u0000" not in stored
    stored.encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    assert all(len(text) <= 2 * MAX_NAME for bad in expected for text in bad if isinstance(text, str))


@given(st.text())
def test_a_kept_name_is_kept_again_as_it_is(name: str) -> None:
    entries = parse_entries([{"id": 1, "name": name}]).entries

    assert all(name_kept(entry.name) == entry.name for entry in entries)
