"""The page has an element for each kind of node that the server sends, and for no other."""

import re
from importlib.resources import files

from worker.web.markdown_tree import KINDS

BUILT_BY_TABLE = {"row", "cell"}


def test_each_kind_of_node_has_an_element() -> None:
    script = files("worker.web.static").joinpath("markdown.js").read_text()
    table = script.partition("const ELEMENTS = {")[2].partition("\n};")[0]
    assert set(re.findall(r"^  (\w+)(?=: \(|: link)", table, re.MULTILINE)) | BUILT_BY_TABLE == KINDS
