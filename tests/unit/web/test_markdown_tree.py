"""Markdown becomes a tree of a closed list of nodes, or is not parsed at all."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.web.chat_bodies import MarkdownNode
from worker.web.markdown_tree import KINDS, MAX_BLOCK_LEVEL, MAX_CHARS, MAX_DEPTH, MAX_TREE_CHARS, Node, may_link, parse

ROOT = Path(__file__).parents[3]
FIELDS = {
    "heading": {"level"},
    "list": {"ordered", "start"},
    "cell": {"head", "align"},
    "link": {"href"},
    "code": {"language", "text"},
    "code_span": {"text"},
    "text": {"text"},
}
SIGNS = """
[ ] ( ) ! * ** _ ~~ ` ``` < > | |-|-| : // \\ --- === # - 1. &amp; &#x6A; word é 👁️ [a]: ' " javascript:alert(1)
https://e.com/ mailto:a@b.c data:text/html,x <script> </script> <img/onerror=x>
"""
PIECES = [*SIGNS.split(), "\n", "\n\n", "    ", "> ", "- ", "1. ", "# ", "\t", "\x00", "\u202e"]
HOSTILE = """
[x](javascript:alert(1))
[x](JaVaScRiPt:alert(1))
[x](java\tscript:alert(1))
[x](&#106;avascript:alert(1))
[x](javascript&colon;alert(1))
[x]( \x01javascript:alert(1))
[x](vbscript:x)
[x](data:text/html;base64,PHM+)
![x](data:image/svg+xml,<svg onload=alert(1)>)
![x](javascript:alert(1))
<javascript:alert(1)>
[x](file:///etc/passwd)
[x](/api/chats)
[x](#log)
[x](//evil.example/)
[x](\\\\evil.example)
[x](https:evil.example)
[x](blob:https://a/b)
[x](https://bank.example@evil.example/)
[x](http:///evil.example)
[x](ftp://evil.example/)
[x](view-source:https://a.example)
<script>alert(1)</script>
<img src=x onerror=alert(1)>
<a href="javascript:x">x</a>
<iframe srcdoc='<script>x</script>'>
<svg><script>x</script></svg>
<!-- x --><b onclick=x>
<style>*{}</style>
"""
WORST = (
    "[",
    "![",
    "*",
    ">",
    "> - ",
    "`",
    "* ",
    "[a](",
    "*a ",
    "a_*",
    "- a\n",
    "|a",
    "a\n",
    "[\\\n",
    "~~a",
    "<a ",
    "[a]:\n",
)
WORDS = ("one", "two", " ", "\n", "\n\n", "*", "_", "`", "~~", "> ", "- ", "# ", "<b>", "&lt;", "    ", "[", "](", "!")


def nodes_of(blocks: list[Node]) -> Iterator[Node]:
    for node in blocks:
        yield node
        yield from nodes_of(node.get("children", []))


def text_of(blocks: list[Node]) -> str:
    """What a page shows of it; the first line of code names its language, or whatever stands there."""
    return "".join(node.get("language", "") + node.get("text", "") for node in nodes_of(blocks))


def check(blocks: list[Node]) -> None:
    """Nothing in it is markup or runs: kinds of the list, each with its fields, texts that are texts, addresses out."""
    for node in nodes_of(blocks):
        assert node["kind"] in KINDS
        assert set(node) <= {"kind", "children"} | FIELDS.get(node["kind"], set())
        assert isinstance(node.get("text", ""), str)
        if node["kind"] == "link":
            assert re.match(r"(https?://[^/?#@]+([/?#]|$)|mailto:[^:]*@)", node["href"], re.IGNORECASE), node["href"]
            assert re.fullmatch(r"[!#-;=?-\[\]_a-z{|}~]+", node["href"], re.IGNORECASE)
            assert "link" not in [inner["kind"] for inner in nodes_of(node["children"])]
    MarkdownNode.model_validate({"kind": "quote", "children": blocks})
    json.dumps(blocks)


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_a_tree_holds_only_nodes_of_the_list(text: str) -> None:
    blocks = parse(text)
    assert blocks is not None
    check(blocks)


@given(st.text(max_size=300))
def test_any_text_becomes_a_tree(text: str) -> None:
    blocks = parse(text)
    assert blocks is not None
    check(blocks)


@given(st.lists(st.sampled_from(WORDS)))
def test_no_word_is_lost(pieces: list[str]) -> None:
    blocks = parse("".join(pieces))
    assert blocks is not None
    assert re.findall("one|two", text_of(blocks)) == re.findall("one|two", "".join(pieces))


@pytest.mark.parametrize("text", HOSTILE.strip().split("\n"))
def test_what_could_run_is_text(text: str) -> None:
    blocks = parse(text)
    assert blocks is not None
    check(blocks)
    assert "link" not in [node["kind"] for node in nodes_of(blocks)]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://example.com", True),
        ("HTTP://example.com:8080/a?b=c#d", True),
        ("https://[2001:db8::1]/", True),
        ("mailto:somebody@example.com?subject=x", True),
        ("mailto:", False),
        ("https://", False),
        ("https:///path", False),
        ("https://user@example.com/", False),
        ("https://[broken", False),
        ("https://example.com:99999/", False),
        ("https://example.com/\\@other.example", False),
        ("https://example.com/a b", False),
        ("https://exämple.com/", False),
        ("", False),
    ],
)
def test_links_lead_out_by_http_https_and_mailto(address: str, allowed: bool) -> None:
    assert may_link(address) is allowed


def test_each_form_has_its_node() -> None:
    text = """
# Head
Plain **strong *both*** ~~gone~~ `code <b>` [words](https://a.example/ "title")
next line

3. three
4. four
   - inner

| l | c | r |
|:--|:-:|--:|
| 1 | 2 | 3 |

> quoted

---

```py title=x
if a < b:
\tpass

```
"""
    word = {"kind": "text", "text": "inner"}
    inner = {"kind": "list", "ordered": False, "children": [{"kind": "item", "children": [word]}]}
    four: dict[str, Any] = {"kind": "item", "children": [{"kind": "text", "text": "four"}, inner]}
    row = [
        {"kind": "cell", "head": False, "align": align, "children": [{"kind": "text", "text": digit}]}
        for align, digit in (("left", "1"), ("center", "2"), ("right", "3"))
    ]
    blocks = parse(text)
    assert blocks is not None
    assert [block["kind"] for block in blocks] == ["heading", "paragraph", "list", "table", "quote", "rule", "code"]
    heading, paragraph, numbered, table, _, _, code = blocks
    assert heading == {"kind": "heading", "level": 1, "children": [{"kind": "text", "text": "Head"}]}
    assert paragraph["children"] == [
        {"kind": "text", "text": "Plain "},
        {
            "kind": "strong",
            "children": [
                {"kind": "text", "text": "strong "},
                {"kind": "emphasis", "children": [{"kind": "text", "text": "both"}]},
            ],
        },
        {"kind": "text", "text": " "},
        {"kind": "strike", "children": [{"kind": "text", "text": "gone"}]},
        {"kind": "text", "text": " "},
        {"kind": "code_span", "text": "code <b>"},
        {"kind": "text", "text": " "},
        {"kind": "link", "href": "https://a.example/", "children": [{"kind": "text", "text": "words"}]},
        {"kind": "text", "text": "\nnext line"},
    ]
    assert numbered["ordered"] is True
    assert numbered["start"] == 3
    assert numbered["children"][1] == four
    assert table["children"][1] == {"kind": "row", "children": row}
    assert code == {"kind": "code", "language": "py title=x", "text": "if a < b:\n\tpass\n"}


def test_an_image_is_a_link_with_its_words() -> None:
    shown = {"kind": "link", "href": "https://a.example/p.png", "children": [{"kind": "text", "text": "Image: a cat"}]}
    assert parse("![a cat](https://a.example/p.png)") == [{"kind": "paragraph", "children": [shown]}]
    outer = {"kind": "link", "href": "https://b.example", "children": [{"kind": "text", "text": "Image: a cat"}]}
    linked = parse("[![a cat](https://a.example/p.png)](https://b.example)")
    assert linked == [{"kind": "paragraph", "children": [outer, shown]}]


@pytest.mark.parametrize("fence", ["```py\nopen", "~~~\nopen", "- ```\n  open", "> ```\n> open"])
def test_an_open_fence_is_code_to_the_end(fence: str) -> None:
    blocks = parse(fence)
    assert blocks is not None
    assert [node["text"] for node in nodes_of(blocks) if node["kind"] == "code"] == ["open"]


@pytest.mark.parametrize("piece", WORST)
def test_the_worst_texts_end(piece: str) -> None:
    """Not timed here: the limits count steps, and docs/adr/0043 says what they take."""
    for size in (5_000, MAX_CHARS):
        blocks = parse((piece * (size // len(piece) + 1))[:size])
        assert blocks is None or {node["kind"] for node in nodes_of(blocks)} <= KINDS


def test_a_definition_leads_out_too() -> None:
    blocks = parse("[a]: javascript:alert(1)\n\n[b]: https://b.example\n\n[a] [b]")
    assert blocks is not None
    check(blocks)
    assert text_of(blocks) == "[a]: javascript:alert(1)[a] b"


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MAX_CHARS + 1),
        "[" * 20_000,
        "- a\n" * 20_000,
        "> " * (MAX_BLOCK_LEVEL + 2) + "deep",
        "*a _b " * MAX_DEPTH + "c_ d*" * MAX_DEPTH,
        "[a]: https://a.example/" + "x" * 50_000 + "\n\n" + "[a] " * (MAX_TREE_CHARS // 50_000 + 1),
    ],
    ids=["long", "many steps", "many tokens", "deep blocks", "deep words", "repeated addresses"],
)
def test_what_would_cost_too_much_is_not_parsed(text: str) -> None:
    assert parse(text) is None


def test_ordinary_answers_are_parsed_whole() -> None:
    pages = "\n\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))[:100_000]
    assert len(pages) == 100_000
    blocks = parse(pages)
    assert blocks is not None
    check(blocks)
    assert {node["kind"] for node in nodes_of(blocks)} >= {"heading", "table", "code", "list", "strong", "code_span"}
