"""The task `llm.refresh`."""

from collections.abc import Callable
from typing import Any

from celery import Celery, Task

from shared.catalogue.sync.requests import InvalidOptions, RefreshRequest, run_refresh
from shared.task_errors import RefreshFailed, RefreshHeld, TaskFailure, of_invalid_refresh, of_outcome
from shared.task_names import REFRESH_TASK, REQUEST_ID_HEADER, RUN_ID_HEADER, TRIGGER_HEADER
from worker.flower.task_events import ENDED, publish_event
from worker.runtime import Runtime
from worker.schedule import SKEW, latest_due
from worker.tasks.arguments import bind_arguments, log_refusal


def register(app: Celery, get_runtime: Callable[[], Runtime]) -> None:
    """Add `llm.refresh(source=None, dry_run=False, force=None)` -> `{run_id, status, counts}`.

    It raises RefreshFailed and RefreshHeld, whose second argument is that same result (ADR 24).
    """

    @app.task(name=REFRESH_TASK, bind=True, throws=(RefreshFailed, RefreshHeld))
    def refresh(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            arguments = bind_arguments(_signature, args, kwargs)
        except ValueError as error:
            raise _refused(self, str(error)) from None
        runtime, request = get_runtime(), self.request
        call = RefreshRequest(
            task_id=request.id,
            run_id=request.get(RUN_ID_HEADER),
            trigger=request.get(TRIGGER_HEADER) or "task",
            request_id=request.get(REQUEST_ID_HEADER),
            arguments=arguments,
        )
        cron, zone = runtime.settings.refresh_cron, runtime.settings.refresh_timezone
        try:
            outcome = run_refresh(runtime.refresher, call, lambda now: latest_due(cron, zone, now + SKEW).local)
        except InvalidOptions as error:
            raise _refused(self, str(error)) from None
        failure = of_outcome(outcome)
        if failure is not None:
            raise _published(self, failure)
        return outcome.as_result()


def _signature(source: str | None = None, dry_run: bool = False, force: str | None = None) -> None:
    """What `llm.refresh` takes."""


def _refused(task: Task, detail: str) -> TaskFailure:
    log_refusal(REFRESH_TASK, task.request.id, detail)
    return _published(task, of_invalid_refresh(detail))


def _published(task: Task, failure: TaskFailure) -> TaskFailure:
    publish_event(task, ENDED, result=repr(failure.values))
    return failure
