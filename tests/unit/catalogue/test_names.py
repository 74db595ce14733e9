"""What a name says by itself: its key, whether it is the same name, what is left of it for a look-up."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.names import bare_words, clean, same_words, slug, words
from tests.unit.catalogue.examples import BARE, DIFFERENT, SAME, SLUGS


@pytest.mark.parametrize(("name", "key"), SLUGS)
def test_a_key_is_the_names_letters_and_digits(name: str, key: str) -> None:
    assert slug(name) == key


@pytest.mark.parametrize(("one", "other"), SAME)
def test_order_case_and_punctuation_make_no_other_name(one: str, other: str) -> None:
    assert same_words(one, other)
    assert same_words(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_word_or_version_makes_another_name(one: str, other: str) -> None:
    assert not same_words(one, other)
    assert not same_words(other, one)
    assert words(one) != words(other)


@pytest.mark.parametrize(("name", "left", "qualifiers"), BARE)
def test_dates_and_qualifiers_are_taken_off_for_a_look_up(name: str, left: str, qualifiers: str) -> None:
    bare = bare_words(name)

    assert set(bare.words) == set(left.split())
    assert bare.qualifiers == frozenset(filter(None, qualifiers.split(",")))


@given(st.text())
def test_a_key_fits_an_address_and_is_its_own_key(name: str) -> None:
    key = slug(name)

    assert key == "" or re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)
    assert slug(key) == key


@given(
    st.lists(st.sampled_from(["Claude", "GPT-4o", "3.7", "R+", "(Internal)", "8B", "Élan", "通义", "- X"])), st.data()
)
def test_any_order_in_any_case_has_the_same_words(parts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(parts))

    assert words(" ".join(shuffled).upper()) == words(" ".join(parts))


@given(st.text(alphabet="GPTgpt 4.3-o(+)é通🚀", max_size=20))
def test_a_name_that_shows_anything_has_words(name: str) -> None:
    assert bool(words(name)) == bool(clean(name))


@given(st.text(alphabet="abc 12.3-+", max_size=12), st.text(alphabet="abc 12.3-+", max_size=12))
def test_equal_words_are_the_same_name(one: str, other: str) -> None:
    if words(one) == words(other):
        assert same_words(one, other)


def test_half_a_surrogate_pair_and_control_characters_are_no_text() -> None:
    with pytest.raises(ValueError, match=r"half of a surrogate pair \(U\+D800\)"):
        clean("a\ud800")
    with pytest.raises(ValueError, match=r"control character \(U\+001B\)"):
        clean("a\x1b[31m")
