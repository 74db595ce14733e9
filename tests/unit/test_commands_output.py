"""What commands print of texts that are not ours: the text, nothing done by it."""

import io
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from shared.logs import visible
from worker.commands.context import as_text, console, table

TEXTS = st.text(max_size=40)


@given(TEXTS)
@example("[/x]")
@example("\x1b[2J\u202e")
def test_a_visible_text_steers_no_terminal(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert "\u202e" not in shown


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_a_printable_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(TEXTS)
@example("Qwen [/INST] 7B")
@example("FLUX [max]")
@example(":smile: [bold red]")
def test_a_cell_shows_its_whole_text(text: str) -> None:
    rows = table("name")
    rows.add_row(text)
    out = console()
    assert isinstance(out, Console)
    out.width, out.file = 1000, io.StringIO()
    out.print(rows)
    lines = [line.rstrip() for line in out.file.getvalue().splitlines()]
    assert lines[1:] == [visible(text).rstrip()]


def test_values_are_words_of_people() -> None:
    values = {"a": True, "b": False, "c": None, "d": 3, "e": {"f": True}}
    assert as_text(values) == "a=yes, b=no, c=unknown, d=3, e=f=yes"
