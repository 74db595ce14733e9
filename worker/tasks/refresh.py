"""The task `llm.refresh`."""

from collections.abc import Callable
from typing import Any

from celery import Celery, Task

from shared.catalogue.sync.requests import RefreshRequest, run_refresh
from shared.task_errors import RefreshFailed, RefreshHeld, of_outcome
from shared.task_names import REFRESH_TASK, REQUEST_ID_HEADER, RUN_ID_HEADER, TRIGGER_HEADER
from worker.flower.task_events import ENDED, publish_event
from worker.runtime import Runtime
from worker.schedule import SKEW, latest_due


def register(app: Celery, get_runtime: Callable[[], Runtime]) -> None:
    """Add `llm.refresh(source=None, dry_run=False, force=None)` -> `{run_id, status, counts}`.

    It raises RefreshFailed and RefreshHeld, whose second argument is that same result (ADR 24).
    """

    @app.task(name=REFRESH_TASK, bind=True, throws=(RefreshFailed, RefreshHeld))  # type: ignore[untyped-decorator]
    def refresh(
        self: Task, source: str | None = None, dry_run: bool = False, force: str | None = None
    ) -> dict[str, Any]:
        runtime, request = get_runtime(), self.request
        call = RefreshRequest(
            task_id=request.id,
            run_id=request.get(RUN_ID_HEADER),
            trigger=request.get(TRIGGER_HEADER) or "task",
            request_id=request.get(REQUEST_ID_HEADER),
            arguments={"source": source, "dry_run": dry_run, "force": force},
        )
        cron, zone = runtime.settings.refresh_cron, runtime.settings.refresh_timezone
        outcome = run_refresh(runtime.refresher, call, lambda now: latest_due(cron, zone, now + SKEW).local)
        failure = of_outcome(outcome)
        if failure is not None:
            publish_event(self, ENDED, result=repr(failure.values))
            raise failure
        return outcome.as_result()
