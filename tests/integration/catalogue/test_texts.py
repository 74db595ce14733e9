"""Texts reach the table and the ledger as they are, whatever PostgreSQL's array syntax would make of them."""

import pytest

from harness.refreshing import catalogue_harness
from harness.servers import Database
from shared.catalogue import ledger
from shared.catalogue.sync import store
from shared.catalogue.sync.rows import ModelChange, ModelRow

TEXTS = [
    "back\\slash",
    "\\",
    'double " quote',
    "NULL",
    "",
    "{braces}, and a comma",
    "  spaces  ",
    "über ☃ 模型",
    "'s; --",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_stored_as_it_is(database: Database, text: str) -> None:
    row = ModelRow(7, text, f"key {text}", text, {"note": text, text: True}, provenance={"note": {"source": text}})
    change = ModelChange("added", 7, text, None, {"model_name": text})
    with catalogue_harness(database.url, None) as catalogue:
        with catalogue.database.transaction() as connection:
            store.write_rows(connection, {7: row}, {7})
            ledger.append_changes(connection, [change], run_id=None, actor=text)
        with catalogue.database.transaction() as connection:
            assert store.read_rows(connection) == [row]
        (line,) = catalogue.ledger()
    assert (line["model_key"], line["before"], line["after"], line["actor"]) == (text, None, {"model_name": text}, text)
