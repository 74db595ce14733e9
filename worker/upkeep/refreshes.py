"""What upkeep does for refreshes: the missed night, the failed night, the dead run, the lost message."""

from __future__ import annotations

import structlog
from celery import Celery

from shared.catalogue.sync import queued_runs
from shared.catalogue.sync.options import RefreshOptions
from shared.clock import new_id
from worker.messages import send_refresh
from worker.runtime import Runtime
from worker.schedule import SKEW, latest_due
from worker.upkeep.loop import Duty

log = structlog.get_logger(__name__)

RETRY_BASE_SECONDS = 60.0
"""A failed night is tried again after this, then after four times this, and so on."""


def refresh_duties(app: Celery, runtime: Runtime) -> list[Duty]:
    """The duties of every worker."""

    def missed_night() -> None:
        settings = runtime.settings
        due = latest_due(settings.refresh_cron, settings.refresh_timezone, runtime.refresher.now())
        with runtime.database.transaction() as connection:
            missing = queued_runs.night_missing(connection, due.local, due_at=due.at, skew_seconds=SKEW.total_seconds())
        if missing:
            run_id, new = runtime.refresher.queue.request_night(
                due.local, trigger="catch-up", task_id=None, actor="upkeep"
            )
            if new:
                log.warning(
                    "llm_refresh.night_missed",
                    message="Missed night, refreshing now",
                    run_id=str(run_id),
                    scheduled_for=due.local.isoformat(),
                )

    def new_source() -> None:
        run_id = runtime.refresher.queue.request_for_new_source()
        if run_id is not None:
            log.warning(
                "llm_refresh.source_changed", message="Another source is set up, refreshing now", run_id=str(run_id)
            )

    def refused_models() -> None:
        run_id = runtime.refresher.queue.request_after_refusal()
        if run_id is not None:
            log.warning("llm_refresh.refused", message="MatchaAI refuses a model, refreshing now", run_id=str(run_id))

    def dead_and_failed() -> None:
        with runtime.database.transaction() as connection:
            abandoned = runtime.refresher.abandon_expired(connection)
            again = queued_runs.requeue_nights(
                connection, attempts=runtime.settings.refresh_attempts, base_seconds=RETRY_BASE_SECONDS
            )
        for run_id in abandoned:
            log.error("llm_refresh.abandoned", message="Run abandoned by its worker", run_id=str(run_id))
        for run_id in again:
            log.warning("llm_refresh.retried", message="Trying the night again", run_id=str(run_id))

    def lost_messages() -> None:
        with runtime.database.transaction() as connection:
            queued = queued_runs.take_unpublished(connection)
        for run in queued:
            arguments = RefreshOptions.model_validate(run.options)
            send_refresh(app, arguments, task_id=str(new_id()), run_id=str(run.id), request_id=run.request_id)

    return [
        Duty("missed night", 15, missed_night),
        Duty("new source", 15, new_source),
        Duty("refused models", 10, refused_models),
        Duty("dead and failed runs", 10, dead_and_failed),
        Duty("lost messages of runs", 5, lost_messages),
    ]
