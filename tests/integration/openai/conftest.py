"""A whole system for OpenAI's SDKs: web processes and a chat worker, on servers of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.chatting import System, chat_system
from harness.servers import Servers
from tests.support import openai_sdk as openai


@pytest.fixture(scope="package")
def system(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with chat_system(servers, tmp_path_factory.mktemp("openai")) as running:
        running.start_chat_worker()
        running.start_refresh_worker()  # its upkeep cancels what was given up
        yield running


@pytest.fixture(autouse=True)
def well_behaved(system: System) -> None:
    """Each test begins with an upstream that answers well, and no chats."""
    system.gateway.behave()
    system.query("TRUNCATE llm_chats")  # what the last test has left open is closed for that
    system.gateway.wait_for_calls(lambda calls: calls["open"] == 0)
    system.gateway.forget_calls()


@pytest.fixture(scope="package")
def client(system: System) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{system.web.url}/v1", api_key="anything") as sdk:
        yield sdk
