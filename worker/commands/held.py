"""Held lists on the command line: what they would take away, and their dismissal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.catalogue.sync import holds
from shared.catalogue.sync.held import summary
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.rows import USE_DAYS
from worker.commands.context import actor, console, say, short, table
from worker.commands.entry import fail
from worker.runtime import Runtime

MODELS_SHOWN = 40


def print_held(held: Mapping[str, Any], *, most: int | None = None, waits: bool = True) -> None:
    """What a held list would take away, and, while it waits, how to decide. `most`: so many models; all when None."""
    say(f"held: {summary(held)}; nothing was changed")
    models = held.get("models", [])
    if models:
        grid = table("id", "key", "name", "what", f"requests ({USE_DAYS} days)", "callers")
        for model in models[:most]:
            what = f"becomes {model['becomes']}" if model.get("becomes") else model["kind"]
            grid.add_row(
                str(model["matcha_llm_id"]),
                model["model_key"],
                model["name"],
                what,
                _count(model["requests"]),
                _count(model["callers"]),
            )
        console().print(grid)
    more = held["absent"] + held["repointed"] - len(models[:most])
    if models and more > 0:
        say(f"and {more} more; --json has the {len(models)} most used")
    if not waits:
        return
    say(f"to apply this very list, whose absent models go at once: llm-refresh refresh --force {held['sha256']}")
    say(f"to wait for a better one: llm-refresh refresh --dismiss {held['sha256']}")


def _count(number: int | None) -> str:
    return "not counted" if number is None else str(number)


def exit_unless_held(runtime: Runtime, options: RefreshOptions) -> None:
    """Exit with 1 unless the force names a held list."""
    try:
        runtime.refresher.check_force(options)
    except holds.NotHeld as refused:
        fail(str(refused))


def dismiss_list(runtime: Runtime, sha256: str) -> dict[str, Any]:
    """Dismiss the held list with this sha256; exits with 1 where there is none."""
    with runtime.database.transaction() as connection:
        run_id = holds.run_of(connection, sha256)
        hold = holds.open_hold(connection)
    if run_id is None:
        fail(holds.explain_refusal(sha256, None if hold is None else hold.held))
    try:
        runtime.refresher.dismiss(run_id, actor=actor())
    except holds.NotHeld as refused:
        fail(str(refused))
    return {"run_id": str(run_id), "dismissed_by": actor()}


def print_run(run: Mapping[str, Any], changes: int, *, waits: bool) -> None:
    """One run with all that is known of it. `waits`: its list waits for a decision."""
    say(f"run {run['id']}: {run['status']}, {run['trigger']} by {run['actor']}, source {run['source'] or '-'}")
    say(
        f"created {short(run['created_at'])}, started {short(run['started_at'])}, ended {short(run['finished_at'])}"
        f" (UTC), attempt {run['attempt']}"
    )
    if run["options"]:
        say("asked for " + ", ".join(f"{name} {value}" for name, value in run["options"].items()))
    counts = ", ".join(f"{name} {count}" for name, count in run["counts"].items() if count)
    if counts:
        say(f"counts: {counts}")
    if run["upstream_sha256"]:
        say(f"list: sha256 {run['upstream_sha256']}")
    if run["error"]:
        say(f"cause: {run['error']['code']}: {run['error']['detail']}")
    if run["errors"]:
        errors = table("id", "name", "why it was refused")
        for error in run["errors"]:
            errors.add_row(str(error["id"]), str(error["name"]), error["reason"])
        console().print(errors)
    if run["held"]:
        print_held(run["held"], waits=waits)
    if run["dismissed"]:
        say(f"dismissed by {run['dismissed']['by']} at {short(run['dismissed']['at'])}")
    if run["dismissed_before"]:
        before = run["dismissed_before"]
        say(f"this very list was dismissed before, by {before['by']} at {before['at']}")
    if changes:
        say(f"{changes} changes: llm-refresh changes --run {run['id']}")
