"""The callers: they ask, follow, cancel, send again and refresh while faults happen, and note what they were told."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from harness.waiting import wait_for
from tests.chaos.cluster import Cluster

CALLERS: Final = ("ann", "ben", "carl")
PAUSE_SECONDS: Final = 0.5
"""Between two questions of a caller, on average."""
MODELS: Final = (None, None, "claude-3-5-sonnet", "gpt-4o", "gemini-2-5-flash-lite", "no-such-model")
ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})
STOP_SECONDS: Final = 60.0
"""For all callers together: each request of theirs has a time-out of 40 s at most."""
NORMAL_SECONDS: Final = 4.0
"""A question that is answered within this time is normal: a completion takes less than a second."""


@dataclass(slots=True)
class SentQuestion:
    """A question, who asked it, and what came back. `chat_id` None: nobody said that it was accepted."""

    question: str
    caller: str
    key: str
    chat_id: str | None = None
    refused: bool = False
    cancelled: bool = False


@dataclass
class Notes:
    """What the callers were told; shared by their threads."""

    questions: dict[str, SentQuestion] = field(default_factory=dict)
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wrong(self, text: str) -> None:
        with self.lock:
            self.wrongs.append(text)

    def count(self, what: str, response: httpx.Response) -> None:
        """Note a status. A 500 is wrong whatever the fault: nobody foresaw it."""
        with self.lock:
            self.statuses[what, str(response.status_code)] += 1
        if response.status_code == 500:
            self.wrong(f"{what}: 500: {response.read().decode(errors='replace')[:300]}")

    @contextlib.contextmanager
    def counting_silence(self, what: str) -> Iterator[None]:
        """Note where a request is not answered to its end: its process was killed or stopped, or took too long."""
        try:
            yield
        except httpx.HTTPError:
            with self.lock:
                self.statuses[what, "no answer"] += 1
            raise

    def by_request(self) -> dict[str, dict[str, int]]:
        """How often each kind of request had which status."""
        with self.lock:
            kinds = {what for what, _ in self.statuses}
            return {kind: {status: n for (what, status), n in self.statuses.items() if what == kind} for kind in kinds}

    def saw(self, chat: dict[str, Any]) -> None:
        """Compare a chat's state with an end that was seen before: an end never changes."""
        if chat.get("status") not in ENDED:
            return
        end = {name: chat.get(name) for name in ("status", "answer", "error", "model")}
        with self.lock:
            before = self.ends.setdefault(chat["id"], end)
        if before != end:
            self.wrong(f"the end of chat {chat['id']} changed: {str(before)[:200]} → {str(end)[:200]}")


class Driver:
    """Runs the callers' threads. Each caller's choices follow from the seed; what they meet does not."""

    def __init__(self, cluster: Cluster, *, seed: int) -> None:
        self._cluster = cluster
        self._seed = seed
        self._over = threading.Event()
        self._numbers = itertools.count(1)
        self.notes = Notes()
        self._threads = [
            *(threading.Thread(target=self._ask, args=(place, caller)) for place, caller in enumerate(CALLERS)),
            threading.Thread(target=self._refresh),
            threading.Thread(target=self._list),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self) -> None:
        """Let each caller end what it is at."""
        self._over.set()
        ends_at = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))
            if thread.is_alive():
                self.notes.wrong(f"a caller hangs: {thread.name}")

    def seconds_to_normal(self, *, patience: float) -> float | None:
        """How long it takes until a new question is answered in its normal time; None when it does not within this."""
        began = time.monotonic()
        for web in itertools.count():
            since = time.monotonic()
            if since - began > patience:
                return None
            with contextlib.suppress(httpx.HTTPError), self._cluster.client("ann", web=web, timeout=12) as client:
                chat = self.put(client, self.new_question("ann"), wait=8)
                if chat and chat["status"] == "succeeded" and time.monotonic() - since < NORMAL_SECONDS:
                    return since - began
            time.sleep(0.3)
        return None

    def new_question(self, caller: str) -> SentQuestion:
        """A question that nobody has asked yet; it is noted."""
        number = next(self._numbers)
        sent = SentQuestion(f"Question {number:06} of {caller}?", caller, f"key-{number}")
        with self.notes.lock:
            self.notes.questions[sent.question] = sent
        return sent

    def put(self, client: httpx.Client, sent: SentQuestion, *, model: str | None = None, wait: int = 0) -> Any:
        """Ask; returns the chat, or None when it was refused. Raises httpx.HTTPError when nobody can say."""
        headers = {"Idempotency-Key": sent.key} | ({"Prefer": f"wait={wait}"} if wait else {})
        body = {"question": sent.question} | ({"model": model} if model else {})
        with self.notes.counting_silence("ask"):
            response = client.post("/api/chasen/chat", json=body, headers=headers)
        self.notes.count("ask", response)
        if response.status_code not in (200, 202):
            sent.refused = response.status_code == 503
            if response.status_code == 503 and "retry-after" not in response.headers:
                self.notes.wrong(f"503 without Retry-After: {response.text[:200]}")
            return None
        chat = response.json()
        if sent.chat_id not in (None, chat["id"]):
            self.notes.wrong(f"the same key gave two chats: {sent.chat_id} and {chat['id']}")
        sent.chat_id = chat["id"]
        self.notes.saw(chat)
        return chat

    def _ask(self, place: int, caller: str) -> None:
        chance = random.Random(f"{self._seed} {caller}")
        web = place
        while not self._over.wait(chance.uniform(0, 2 * PAUSE_SECONDS)):
            sent, model, then = self.new_question(caller), chance.choice(MODELS), chance.random()
            with self._cluster.client(caller, web=web, timeout=40) as client:
                try:
                    chat = self.put(client, sent, model=model)
                    if chat is None:
                        continue
                    if then < 0.2:
                        self._follow(sent)
                    elif then < 0.3:
                        time.sleep(chance.uniform(0, 1))
                        self._cancel(client, sent)
                    elif then < 0.4:
                        self.put(client, sent, model=model)
                    elif then < 0.6:
                        self._look(client, sent)
                except httpx.HTTPError:
                    web += 1  # as a load balancer would

    def _look(self, client: httpx.Client, sent: SentQuestion) -> None:
        with self.notes.counting_silence("read"):
            response = client.get(f"/api/chats/{sent.chat_id}")
        self.notes.count("read", response)
        if response.status_code == 200:
            self.notes.saw(response.json())
        elif response.status_code == 404:
            self.notes.wrong(f"accepted chat {sent.chat_id} was not found")

    def _cancel(self, client: httpx.Client, sent: SentQuestion) -> None:
        sent.cancelled = True
        with self.notes.counting_silence("cancel"):
            response = client.delete(f"/api/chats/{sent.chat_id}")
        self.notes.count("cancel", response)
        if response.status_code == 200:
            self.notes.saw(response.json())

    def _follow(self, sent: SentQuestion) -> None:
        """Read the events to their end, by whichever web process answers."""
        ends_at = time.monotonic() + 30
        for web in itertools.count():
            if time.monotonic() > ends_at or self._over.is_set():
                return
            with (
                contextlib.suppress(httpx.HTTPError),
                self.notes.counting_silence("follow"),
                self._cluster.client(sent.caller, web=web, timeout=12) as client,
                client.stream("GET", f"/api/chats/{sent.chat_id}/events") as response,
            ):
                self.notes.count("follow", response)
                if response.status_code == 204:
                    return
                if response.status_code == 200:
                    for chat in _events(response):
                        self.notes.saw(chat)
                        if chat["status"] in ENDED:
                            return
            time.sleep(0.3)

    def _refresh(self) -> None:
        while not self._over.wait(8):
            with (
                contextlib.suppress(httpx.HTTPError),
                self.notes.counting_silence("refresh"),
                self._cluster.client("ops", "service_role", timeout=40) as client,
            ):
                self.notes.count("refresh", client.post("/api/llms/refresh"))

    def _list(self) -> None:
        web = 0
        while not self._over.wait(0.5):
            web += 1
            try:
                with self.notes.counting_silence("list"), self._cluster.client("ann", web=web, timeout=10) as client:
                    response = client.get("/api/llms")
            except httpx.HTTPError:
                continue
            self.notes.count("list", response)
            if response.status_code == 200 and not response.json()["models"]:
                self.notes.wrong("the listing is empty")


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def wait_until_ended(cluster: Cluster, *, seconds: float) -> None:
    """Wait until no chat is open. Raises AssertionError."""

    def ended() -> bool:
        try:
            return cluster.query("SELECT count(*) FROM llm_chats WHERE status IN ('queued', 'running')") == [(0,)]
        except Exception:  # noqa: BLE001 - PostgreSQL may be coming back
            return False

    wait_for(ended, seconds=seconds)
