"""The stand-in gateway as a real process, for tests that need an upstream."""

import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import plain_http
from worker.local.stand_in import PREFIX

ROOT = Path(__file__).parents[1]
READY_SECONDS = 20.0
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.02


class RunningStandIn:
    """Starts `python -m worker.local.stand_in` on a free port and waits until it is ready; a context manager.

    It ends with this process, however this ends. `models` None means its built-in list; `delay` is how many seconds a
    completion takes. `behave` takes the fields of `worker.local.stand_in.behaviour.Behaviour`.
    """

    def __init__(
        self,
        *,
        models: Sequence[object] | None = None,
        delay: float = 0.0,
        api_key: str = "sandbox-test-key",
        port: int = 0,
    ) -> None:
        self.api_key = api_key
        # The interpreter that runs the tests, and only arguments of ours.
        command = [sys.executable, "-m", "worker.local.stand_in", "--until-stdin-closes"]
        command += ["--port", str(port), "--delay", str(delay), "--api-key", api_key]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.url = self._ready_line().removeprefix("ready: ")
        except BaseException:
            self.kill()
            raise
        self.port = int(self.url.removesuffix(PREFIX).rpartition(":")[2])
        self._http = plain_http.Client(
            base_url=f"http://127.0.0.1:{self.port}/_sandbox",
            headers={"MATCHA-API-KEY": api_key},
            timeout=30,
        )
        if models is not None:
            self.set_models(models)

    def set_models(self, models: Sequence[object]) -> None:
        """List these entries from now on; any JSON values."""
        self._put("models", list(models))

    def behave(
        self,
        *,
        llms: Mapping[str, object] | None = None,
        completions: Mapping[str, object] | None = None,
        by_llm_id: Mapping[int, Mapping[str, object]] | None = None,
        by_words: Mapping[str, Mapping[str, object]] | None = None,
        ignores: str | None = None,
    ) -> None:
        """Answer like this from now on; what is not named answers well again.

        `ignores` is a field that names the model, and that it shall not understand.
        """
        own = {str(llm_id): behaviour for llm_id, behaviour in (by_llm_id or {}).items()}
        self._put(
            "behaviour",
            {
                "llms": llms or {},
                "completions": completions or {},
                "by_llm_id": own,
                "by_words": by_words or {},
                "ignores": ignores,
            },
        )

    def calls(self) -> dict[str, Any]:
        """`llms`, `completions`, `other` (calls of each), `open`, `closed_by_client`, and `requests`, the oldest first.

        `most_open` are the completions that were open at once. Each request has at (seconds of its clock), connection
        (a number of its own), method, target, headers (without the key), key (right, wrong or none), body (its JSON)
        and llm_id.
        """
        answer = self._http.get("/calls")
        answer.raise_for_status()
        calls: dict[str, Any] = answer.json()
        return calls

    def wait_for_calls(self, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """`calls()` once `enough` says so of them; TimeoutError when it does not in WAIT_SECONDS."""
        ends_at = time.monotonic() + WAIT_SECONDS
        while not enough(calls := self.calls()):
            if time.monotonic() > ends_at:
                counts = {name: count for name, count in calls.items() if name != "requests"}
                raise TimeoutError(f"Waited {WAIT_SECONDS:g} s; the sandbox counts {counts}.")
            time.sleep(POLL_SECONDS)
        return calls

    def forget_calls(self) -> None:
        """Set all counts to zero."""
        self._http.delete("/calls").raise_for_status()

    def stop(self) -> None:
        """End it as an operator would, and wait."""
        self.process.terminate()
        self._wait()

    def kill(self) -> None:
        """End it as a crash would, and wait."""
        self.process.kill()
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self.stop()

    def _put(self, what: str, value: object) -> None:
        answer = self._http.put(f"/{what}", json=value)
        if answer.is_error:
            raise ValueError(f"The sandbox did not take this {what}: {answer.text}")

    def _wait(self) -> None:
        try:
            self.process.wait(10)
        finally:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()

    def _ready_line(self) -> str:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(READY_SECONDS):
                raise TimeoutError(f"The sandbox was not ready in {READY_SECONDS:g} s.")
        line = self.process.stdout.readline().strip()
        if not line.startswith("ready: "):
            raise RuntimeError(f"The sandbox ended with {self.process.wait(10)} before it was ready.")
        return line
