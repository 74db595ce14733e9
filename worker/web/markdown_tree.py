"""Markdown as a tree of a closed list of nodes, for a page that builds elements from them. Pure.

An answer is text from outside. The tree holds no markup: raw HTML is text, an image is a link, and a link leads by
http, https or mailto, or is text. What would cost too much to parse is not parsed: `parse` says None, and the page
shows the text as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

Block = Literal["paragraph", "heading", "list", "item", "quote", "code", "rule", "table", "row", "cell"]
Inline = Literal["text", "strong", "emphasis", "strike", "code_span", "link"]
Kind = Literal[Block, Inline]
KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))
Node = dict[str, Any]
"""`kind`, and by its kind: `text`, `children`, `level`, `ordered`, `start`, `language`, `head`, `align`, `href`."""

MAX_CHARS: Final = 200_000
"""Of Markdown. An ordinary 100,000 characters take 0.1 s of a CPU, the worst that were found within all limits 1 s."""
MAX_STEPS: Final = 150_000
"""Attempts of the parser to find something at a place. Ordinary text takes 0.15 for each character, `[[[[…` 100."""
MAX_TOKENS: Final = 60_000
MAX_TREE_CHARS: Final = 1_000_000
"""Of texts and addresses: a definition like `[a]: https://…` repeats its address wherever `[a]` stands."""
MAX_BLOCK_LEVEL: Final = 40
MAX_DEPTH: Final = 100
"""Of the tree; whoever writes or reads it as JSON calls itself for each level."""

_SCHEMES: Final = ("http", "https")
_IMAGE: Final = "Image"


class TooMuchMarkdown(Exception):
    """This text would cost more than it may."""


def parse(text: str) -> list[Node] | None:
    """The blocks of this Markdown (CommonMark, tables, ~~struck out~~); None above one of the limits."""
    if len(text) > MAX_CHARS:
        return None
    try:
        return _tree(_PARSER.parse(text, {"steps": 0}))
    except (TooMuchMarkdown, RecursionError):
        return None


def may_link(address: str) -> bool:
    """Whether an answer may link there: an absolute http or https address without a login, or mailto."""
    if not address.isascii() or not address.isprintable() or any(sign in address for sign in ' <>"\\`'):
        return False
    scheme, _, rest = address.partition(":")
    if scheme.lower() == "mailto":
        return "@" in rest
    if scheme.lower() not in _SCHEMES or not rest.startswith("//"):
        return False
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and "@" not in parts.netloc and (parts.port or 1) > 0
    except ValueError:
        return False


class _Parser(MarkdownIt):
    """The library's parser, which refuses other links (they stay text) and counts its steps in `env`."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False, "maxNesting": MAX_DEPTH})
        self.inline = _CountingInline()
        self.configure("commonmark", {"html": False, "maxNesting": MAX_DEPTH}).enable(["table", "strikethrough"])
        self.core.ruler.before("inline", "count_tokens", _count_tokens)
        self.inline.ruler.before("text", "count", _count_inline)
        everywhere = ["paragraph", "reference", "blockquote", "list"]
        self.block.ruler.before("table", "count", _count_block, {"alt": everywhere})

    def validateLink(self, url: str) -> bool:  # noqa: N802  # the library's name
        return may_link(url)


class _CountingInline(ParserInline):
    def skipToken(self, state: StateInline) -> None:  # noqa: N802  # the library's name
        _step(state.env)
        super().skipToken(state)


def _step(env: MutableMapping[str, Any]) -> None:
    env["steps"] += 1
    if env["steps"] > MAX_STEPS:
        raise TooMuchMarkdown


def _count_inline(state: StateInline, silent: bool) -> bool:
    _step(state.env)
    return False


def _count_block(state: StateBlock, begin: int, end: int, silent: bool) -> bool:
    _step(state.env)
    # Beyond maxNesting the library leaves out what follows.
    if state.level > MAX_BLOCK_LEVEL or len(state.tokens) > MAX_TOKENS:
        raise TooMuchMarkdown
    return False


def _count_tokens(state: StateCore) -> None:
    if len(state.tokens) > MAX_TOKENS:
        raise TooMuchMarkdown


_PARSER: Final = _Parser()


def _heading(token: Token) -> Node:
    return {"kind": "heading", "level": int(token.tag[1:])}


def _ordered(token: Token) -> Node:
    return {"kind": "list", "ordered": True, "start": int(token.attrs.get("start", 1))}


def _cell(token: Token) -> Node:
    align = str(token.attrs.get("style", "")).removeprefix("text-align:")
    return {"kind": "cell", "head": token.tag == "th", **({"align": align} if align else {})}


def _link(token: Token) -> Node:
    return {"kind": "link", "href": str(token.attrs.get("href", ""))}


_CONTAINERS: Final[Mapping[str, Callable[[Token], Node]]] = {
    "paragraph": lambda _: {"kind": "paragraph"},
    "heading": _heading,
    "bullet_list": lambda _: {"kind": "list", "ordered": False},
    "ordered_list": _ordered,
    "list_item": lambda _: {"kind": "item"},
    "blockquote": lambda _: {"kind": "quote"},
    "table": lambda _: {"kind": "table"},
    "tr": lambda _: {"kind": "row"},
    "th": _cell,
    "td": _cell,
    "strong": lambda _: {"kind": "strong"},
    "em": lambda _: {"kind": "emphasis"},
    "s": lambda _: {"kind": "strike"},
    "link": _link,
}
_TRANSPARENT: Final = frozenset(("thead", "tbody"))


class _Builder:
    """Puts nodes into one another as the tokens open and close them."""

    def __init__(self) -> None:
        self.blocks: list[Node] = []
        self._open: list[list[Node]] = [self.blocks]
        self._links: list[list[Node]] = []
        self._words: list[str] = []
        self._chars = self._tokens = 0

    def add_all(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            self._tokens += 1
            if self._tokens > MAX_TOKENS:
                raise TooMuchMarkdown
            self._add(token)

    def _add(self, token: Token) -> None:
        name, _, end = token.type.rpartition("_")
        if end in ("open", "close") and name:
            if name not in _TRANSPARENT and not token.hidden:  # hidden: the paragraphs of a list without blank lines
                self._open_node(token, name) if end == "open" else self._close_node(name)
        elif token.type == "inline":
            self.add_all(token.children or ())
        elif token.type == "image":
            self._add_image(token)
        elif token.type in ("fence", "code_block"):
            language = self._counted(token.info.strip())
            text = token.content.removesuffix("\n")  # the last line's end is not of the code
            self._put({"kind": "code", "language": language, "text": self._counted(text)})
        elif token.type == "code_inline":
            self._put({"kind": "code_span", "text": self._counted(token.content)})
        elif token.type == "hr":
            self._put({"kind": "rule"})
        elif token.type in ("softbreak", "hardbreak"):
            self._put_text("\n")
        else:
            self._put_text(token.content)

    def _open_node(self, token: Token, name: str) -> None:
        container = _CONTAINERS.get(name)
        node: Node = container(token) if container else {"kind": "paragraph"}
        self._counted(node.get("href", ""))
        self._put(node)
        node["children"] = []
        self._open.append(node["children"])
        if node["kind"] == "link":
            self._links.append([])
        if len(self._open) > MAX_DEPTH:
            raise TooMuchMarkdown

    def _close_node(self, name: str) -> None:
        self._end_text()
        self._open.pop()
        if name == "link":
            self._open[-1].extend(self._links.pop())

    def _add_image(self, token: Token) -> None:
        words = f"{_IMAGE}: {token.content}" if token.content else _IMAGE
        link = {
            "kind": "link",
            "href": self._counted(str(token.attrs.get("src", ""))),
            "children": [{"kind": "text", "text": self._counted(words)}],
        }
        if self._links:  # no link stands in a link: it comes after, and the outer one has its words
            self._put_text(words)
            self._links[-1].append(link)
        else:
            self._put(link)

    def _put_text(self, text: str) -> None:
        self._words.append(self._counted(text))

    def _end_text(self) -> None:
        text = "".join(self._words)
        self._words.clear()
        if text:
            self._open[-1].append({"kind": "text", "text": text})

    def _put(self, node: Node) -> None:
        self._end_text()
        self._open[-1].append(node)

    def _counted(self, text: str) -> str:
        self._chars += len(text)
        if self._chars > MAX_TREE_CHARS:
            raise TooMuchMarkdown
        return text


def _tree(tokens: Sequence[Token]) -> list[Node]:
    builder = _Builder()
    builder.add_all(tokens)
    return builder.blocks
