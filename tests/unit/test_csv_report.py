"""A report reads back as it was written, and none of its texts is a formula."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from shared.csv_report import FORMULA_STARTS, as_csv

TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00")) | st.builds(
    str.__add__, st.sampled_from(FORMULA_STARTS), st.text(st.sampled_from("a,'\"\r\n=1")))  # fmt: skip


@given(st.lists(st.tuples(TEXTS, st.none() | st.integers())))
def test_rows_come_back_and_no_text_is_a_formula(rows: list[tuple[str, int | None]]) -> None:
    text = as_csv(["name", "number"], [{"name": name, "number": number} for name, number in rows])
    heading, *read = csv.reader(io.StringIO(text, newline=""))
    assert heading == ["name", "number"]
    assert len(read) == len(rows)
    for (name, number), (shown, digits) in zip(rows, read, strict=True):
        assert not shown.startswith(FORMULA_STARTS)
        assert shown in (name, f"'{name}")
        assert digits == ("" if number is None else str(number)), "a number is no text, also a negative one"
