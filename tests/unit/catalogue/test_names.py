"""What a name says by itself: its key, whether it is the same name, what is left of it for a look-up."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.facts.names import MAX_KEY, bare_words, clean, same_words, slug, words
from tests.support.same_models import ANOTHER_MODEL, SAME_MODEL
from tests.unit.catalogue.examples import BARE, SLUGS


@pytest.mark.parametrize(("name", "key"), SLUGS)
def test_a_key_is_the_names_letters_and_digits(name: str, key: str) -> None:
    assert slug(name) == key


@pytest.mark.parametrize(("one", "other"), [pair for rule in SAME_MODEL for pair in rule.pairs])
def test_what_no_rule_counts_leaves_the_same_model(one: str, other: str) -> None:
    assert same_words(one, other)
    assert same_words(other, one)
    assert words(one) == words(other)


@pytest.mark.parametrize(("one", "other"), [pair for rule in ANOTHER_MODEL for pair in rule.pairs])
def test_every_other_word_makes_another_model(one: str, other: str) -> None:
    assert not same_words(one, other)
    assert not same_words(other, one)
    assert words(one) != words(other)


@pytest.mark.parametrize(("name", "without", "qualifiers"), BARE)
def test_only_the_mode_of_a_model_is_taken_off_for_a_look_up(name: str, without: str, qualifiers: str) -> None:
    bare = bare_words(name)

    assert bare.words == words(without)
    assert bare.qualifiers == frozenset(filter(None, qualifiers.split(",")))


@given(st.text())
def test_a_key_fits_an_address_and_is_its_own_key(name: str) -> None:
    key = slug(name)

    assert key == "" or (re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) and re.search("[a-z]", key))
    assert len(key) <= MAX_KEY
    assert slug(key) == key


@pytest.mark.parametrize("character", ["a", "文", "ﷺ", "1", "-a", "é", "🚀"])
def test_a_key_is_no_longer_than_it_may_be(character: str) -> None:
    assert 0 < len(slug(character * 200)) <= MAX_KEY


@given(
    st.lists(st.sampled_from(["Claude", "GPT-4o", "3.7", "R+", "(Internal)", "8B", "Élan", "通义", "- X"])), st.data()
)
def test_any_order_in_any_case_has_the_same_words(parts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(parts))

    assert words(" ".join(shuffled).upper()) == words(" ".join(parts))


@given(st.text(alphabet="GPTgpt 4.3-o(+)é通🚀", max_size=20))
def test_a_name_that_shows_anything_has_words(name: str) -> None:
    assert bool(words(name)) == bool(clean(name))


PIECES = st.sampled_from(
    [
        "GPT-4o",
        "Claude",
        "3.7",
        "Sonnet",
        "OpenAI",
        "openai/",
        "Azure: ",
        "us.",
        "(Legacy)",
        "(new)",
        "Preview",
        "+",
        " ",
        "-",
        " - Deprecated",
        ":free",
        "2024-08-06",
        "retiring",
        "May",
        "R",
        "flashlite",
        "文心",
        "🚀",
        "(",
        "[",
        "é",
    ]
)
AROUND = st.sampled_from(
    [
        "{} (Legacy)",
        "{} (new)",
        "{} - Deprecated",
        "azure/{}",
        "us.{}",
        "OpenRouter: {}",
        "{} (EU)",
        "{} via Bedrock",
        "{} (retiring 2026-10-01)",
        "[Deprecated] {}",
        "{} (Azure)",
        "{} [Sweden Central]",
        "{}:free",
        "Legacy {}",
    ]
)
ANY_NAME = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=20)


@given(ANY_NAME, ANY_NAME, ANY_NAME)
def test_same_words_is_an_equivalence_and_the_same_as_equal_words(one: str, two: str, three: str) -> None:
    assert same_words(one, one)
    assert same_words(one, two) == same_words(two, one) == (words(one) == words(two))
    if same_words(one, two) and same_words(two, three):
        assert same_words(one, three)


@given(ANY_NAME)
def test_cleaning_and_case_leave_the_same_model(name: str) -> None:
    try:
        cleaned = clean(name)
    except ValueError:
        return
    assert words(cleaned) == words(name)
    assert bool(words(name)) == bool(cleaned)
    assert words(cleaned.upper()) == words(cleaned.upper().lower())


MODELS = st.sampled_from(["GPT-4o", "Claude 3.7 Sonnet", "Command R+", "Gemini 2.5 Pro", "Qwen3 235B A22B", "GLM 4.6"])


@given(MODELS, st.lists(AROUND, max_size=3))
def test_qualifiers_around_one_another_leave_the_same_model(name: str, around: list[str]) -> None:
    qualified = name
    for form in around:
        qualified = form.format(qualified)

    assert same_words(qualified, name)


@pytest.mark.parametrize("picture", ["👩\u200d💻", "👩🏽\u200d⚕\ufe0f", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈"])
def test_pictures_that_are_joined_to_one_stay_whole(picture: str) -> None:
    assert clean(f" {picture}  Coder") == f"{picture} Coder"
    assert same_words(f"{picture} Coder", "Coder")
    assert slug(f"{picture} Coder") == "coder"


def test_a_keycap_and_the_flag_of_a_region_stay_whole() -> None:
    flag = "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbeng") + "\U000e007f"
    assert clean(f"1\ufe0f\u20e3 {flag}") == f"1\ufe0f\u20e3 {flag}"


@pytest.mark.parametrize("name", ["a\u200db", "\u200da👩\u200db", "a👩\u200d b", "a\ufe0fb", "a\u200d💻b"])
def test_a_joiner_that_joins_no_pictures_is_taken_off(name: str) -> None:
    assert "\u200d" not in clean(name)
    assert "\ufe0f" not in clean(name)


def test_tabs_at_the_ends_are_no_fault() -> None:
    assert clean("\t DeepSeek R1 (Turbo)\t") == "DeepSeek R1 (Turbo)"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(name: str) -> None:
    try:
        cleaned = clean(name)
    except ValueError:
        return
    assert clean(cleaned) == cleaned


def test_half_a_surrogate_pair_and_control_characters_are_no_text() -> None:
    with pytest.raises(ValueError, match=r"half of a surrogate pair \(U\+D800\)"):
        clean("a\ud800")
    with pytest.raises(ValueError, match=r"control character \(U\+001B\)"):
        clean("a\x1b[31m")
