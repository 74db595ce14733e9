"""The route of a chat as a conversation shows it: its question, and its answer as a tree of Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Response
from gevent.threadpool import ThreadPool

from worker.runtime import Runtime
from worker.web import chat_bodies as bodies
from worker.web.chats import chat_id_of, find_chat, shown_chat
from worker.web.markdown_tree import Node, parse
from worker.web.routing import CALLERS, PlainRequest, Route, as_json

MAX_WAITING = 20
"""Answers that wait for the thread; more are shown as they are."""


class MarkdownThread:
    """Parses in a thread of its own, one text at a time: the other requests of this process go on meanwhile."""

    def __init__(self) -> None:
        self._pool = ThreadPool(1)
        self._open = 0

    def parse(self, text: str) -> list[Node] | None:
        """As `markdown_tree.parse`; None also where too many wait."""
        if self._open > MAX_WAITING:
            return None
        self._open += 1
        try:
            blocks: list[Node] | None = self._pool.apply(parse, (text,))
        finally:
            self._open -= 1
        return blocks


@dataclass(frozen=True)
class ChatMarkdownRoutes:
    """The handler, with what it works with."""

    runtime: Runtime
    thread: MarkdownThread = field(default_factory=MarkdownThread)

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/api/chats/{chat_id}/markdown",
                self.show,
                "One chat with its question, and its answer parsed as Markdown",
                roles=CALLERS,
                returns={200: bodies.ChatMarkdown},
            )
        ]

    def show(self, call: PlainRequest) -> Response:
        chat = find_chat(self.runtime.database, chat_id_of(call.path["chat_id"]), call.caller, "all")
        answer = chat.body.get("answer")
        return as_json(
            shown_chat(chat, call.caller)
            | {
                "question": None if chat.prompt is None else chat.prompt["question"],
                "markdown": None if answer is None else self.thread.parse(answer),
            }
        )
