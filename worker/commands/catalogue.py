"""Commands of the catalogue: verify, refresh, models, runs."""

from __future__ import annotations

import sys
import uuid
from typing import Any

import click
from pydantic import ValidationError

from shared.catalogue import ledger, seed
from shared.catalogue.inactive import read_all_models
from shared.catalogue.listing import read_models, read_state
from shared.catalogue.report import coverage
from shared.catalogue.sync import holds, runs
from shared.catalogue.sync.held import summary
from shared.catalogue.sync.options import RefreshOptions
from shared.catalogue.sync.outcomes import Outcome
from shared.catalogue.sync.plan import COUNTED
from shared.catalogue.sync.rows import MATCHAAI
from shared.chat import usage
from shared.vocabulary import GOOD_RUNS, RunTrigger
from worker.commands.context import as_text, console, echo_json, json_option, open_runtime, say, short, table
from worker.commands.entry import GOOD, NOT_GOOD, fail
from worker.commands.held import MODELS_SHOWN, dismiss_list, exit_unless_held, print_held, print_run
from worker.local import FIRST_HELD
from worker.runtime import Runtime


@click.command()
@json_option
def verify(as_json: bool) -> None:
    """Say which models the database holds; exit 1 when it holds none, or no default."""
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        models = seed.all_models(connection)
    if as_json:
        echo_json({"count": len(models), "models": models})
    else:
        click.echo(f"Found {len(models)} LLM models in database:")
        for model in models:
            mark = "✓" if model["is_active"] else "✗"
            default = " [DEFAULT]" if model["is_default"] else ""
            say(f"  {mark} {model['model_name']} (ID: {model['matcha_llm_id']}, Key: {model['model_key']}){default}")
    sys.exit(GOOD if any(model["is_default"] for model in models) else NOT_GOOD)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what a refresh would do; nothing is written.")
@click.option("--force", metavar="SHA", help="Apply the held list with this sha256: absent models go at once.")
@click.option("--dismiss", metavar="SHA", help="End the hold of the list with this sha256 without applying it.")
@click.option("--source", help="matchaai or mapping; MatchaAI where it is set up.")
@click.option(
    "--first",
    is_flag=True,
    hidden=True,
    help="Only when no run of this source has succeeded (make up).",
)
@json_option
def refresh(
    dry_run: bool, force: str | None, dismiss: str | None, source: str | None, first: bool, as_json: bool
) -> None:
    """Refresh the catalogue now; exit 1 when the run was held or failed."""
    try:
        arguments = RefreshOptions.model_validate({"source": source, "dry_run": dry_run, "force": force})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise click.UsageError(f"--{str(wrong['loc'][0]).replace('_', '-')}: {wrong['msg']}") from None
    if dismiss is not None:
        if dry_run or force is not None or source is not None:
            raise click.UsageError("--dismiss goes with no other option: it refreshes nothing")
        _dismiss(dismiss, as_json=as_json)
        return
    with open_runtime() as runtime:
        if source == MATCHAAI and not runtime.settings.upstream_given:
            raise click.UsageError("--source matchaai: set MATCHAAI_BASE_URL and MATCHAAI_API_KEY first")
        if first and not runtime.refresher.queue.needs_first():
            click.echo("refresh: a run of this source has succeeded before, or its list is held: nothing to do")
            return
        if not dry_run:
            exit_unless_held(runtime, arguments)
        with console().status("Refreshing the catalogue …"):
            outcome = _run(runtime, arguments, first=first)
        removed = _removed_models(runtime, outcome)
    if as_json:
        echo_json(_as_json(outcome) | {"removed": removed})
    else:
        _print(outcome)
        for model in removed:
            last = f", last {short(model['last_used'])}" if model["last_used"] else ""
            say(
                f"gone: {model['model_key']} ({model['kind']}), asked {model['request_count']} times"
                f" in {model['days']} days{last}"
            )
    if first and outcome.status == "held":
        sys.exit(FIRST_HELD)
    sys.exit(GOOD if outcome.status in GOOD_RUNS or (dry_run and outcome.status == "held") else NOT_GOOD)


def _dismiss(sha256: str, *, as_json: bool) -> None:
    with open_runtime() as runtime:
        dismissed = dismiss_list(runtime, sha256)
    if as_json:
        echo_json(dismissed)
    else:
        say(
            f"dismissed: run {dismissed['run_id']} asks no more; nothing was changed. If the same list comes again,"
            " it is held again"
        )


def _run(runtime: Runtime, arguments: RefreshOptions, *, first: bool) -> Outcome:
    if arguments.dry_run:
        return runtime.refresher.preview(arguments)
    trigger: RunTrigger = "startup" if first else "cli"
    run_id, _, _ = runtime.refresher.queue.request(arguments, trigger=trigger, actor=trigger)
    return runtime.refresher.perform(run_id)


def _removed_models(runtime: Runtime, outcome: Outcome) -> list[dict[str, Any]]:
    """The keys that this refresh takes away, and how much they were used."""
    with runtime.database.transaction() as connection:
        changes = outcome.plan
        if changes is None and outcome.run_id is not None:
            changes = tuple(ledger.read_changes(connection, since=0, limit=1000, run_id=outcome.run_id))
        return usage.of_removed(connection, changes or ())


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return outcome.as_result() | {"errors": list(outcome.errors), "held": outcome.held}


def _print(outcome: Outcome) -> None:
    out = console()
    title = "dry run" if outcome.plan is not None else f"run {outcome.run_id}"
    click.echo(f"{click.style(outcome.status, bold=True)}  {title}")
    counts = table(*COUNTED)
    counts.add_row(*(str(outcome.counts.get(name, 0)) for name in COUNTED))
    out.print(counts)
    if outcome.code is not None:
        say(f"cause: {outcome.code}: {outcome.detail}")
    if outcome.held is not None:
        print_held(outcome.held, most=MODELS_SHOWN)
    if outcome.errors:
        errors = table("id", "name", "why it was refused")
        for error in outcome.errors:
            errors.add_row(as_text(error["id"]), as_text(error["name"]), error["reason"])
        out.print(errors)
    if outcome.plan:
        plan = table("change", "id", "key", "before", "after")
        for change in outcome.plan:
            plan.add_row(
                change["kind"],
                str(change["matcha_llm_id"]),
                change["model_key"],
                _brief(change["before"]),
                _brief(change["after"]),
            )
        out.print(plan)


def _brief(values: Any) -> str:
    if not values:
        return "-"
    return ", ".join(
        f"{name}={as_text(value)}" for name, value in values.items() if name not in ("provenance", "overrides")
    )


@click.command()
@click.option("--provenance", is_flag=True, help="Where each capability is known from, and of which models nothing is.")
@click.option("--all", "with_inactive", is_flag=True, help="Inactive ones too, each with why.")
@json_option
def models(provenance: bool, with_inactive: bool, as_json: bool) -> None:
    """List the active models."""
    read = read_all_models if with_inactive else read_models
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = read(connection, provenance=True)
        state = read_state(connection, stale_after=runtime.cadence.stale_after)
    if as_json:
        echo_json(rows)
        return
    if provenance:
        _print_provenance(rows)
        return
    last = "why it is inactive" if with_inactive else "capabilities"
    grid = table("id", "key", "name", "provider", "default", last)
    for model in rows:
        able = as_text(model["capabilities"] or None)
        why = (model["why"] or {}).get("text", "") if with_inactive else able
        grid.add_row(
            str(model["matcha_llm_id"]),
            model["model_key"],
            model["model_name"],
            model["provider"],
            "default" if model["is_default"] else "",
            why,
        )
    console().print(grid)
    if any(model.get("why") and model["why"]["reason"] == "hidden" for model in rows):
        click.echo("to show a hidden one again: llm-refresh set KEY is_active=null")
    click.echo(f"{len(rows)} models; last synced {short(state.last_synced_at)}{', stale' if state.stale else ''}")


def _print_provenance(models: list[dict[str, Any]]) -> None:
    grid = table("key", "capability", "value", "from", "detail", "date", "below")
    for model in models:
        for name, note in model["provenance"].items():
            value = model["capabilities"].get(name, model.get(name, ""))
            below = note.get("below") or {}
            under = f"{as_text(below.get('value'))} ({below.get('source')})" if below else ""
            grid.add_row(
                model["model_key"],
                name,
                as_text(value),
                note.get("source", ""),
                note.get("detail", ""),
                note.get("date", ""),
                under,
            )
    console().print(grid)
    sources = coverage(models)
    for source, keys in sources.items():
        say(f"{source}: {len(keys)} of {len(models)} models" + (f": {', '.join(keys)}" if source == "unknown" else ""))


@click.command(name="runs")
@click.argument("run_id", type=click.UUID, required=False, metavar="[ID]")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_runs(run_id: uuid.UUID | None, limit: int, as_json: bool) -> None:
    """List sync runs, newest first; with an ID that run with all that is known of it."""
    if run_id is not None:
        _show_run(run_id, as_json=as_json)
        return
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        rows = runs.newest(connection, limit=limit)
        hold = holds.open_hold(connection)
    if as_json:
        echo_json(rows)
        return
    grid = table("run", "created (UTC)", "trigger", "status", "counts", "cause")
    for run in rows:
        counts = ", ".join(f"{name} {count}" for name, count in run["counts"].items() if count)
        cause = f"{run['error']['code']}: {run['error']['detail']}" if run["error"] else ""
        if run["held"]:
            cause = summary(run["held"]) + (f"; dismissed by {run['dismissed']['by']}" if run["dismissed"] else "")
        grid.add_row(run["id"], short(run["created_at"]), run["trigger"], run["status"], counts, cause)
    console().print(grid)
    if hold is not None:
        say(f"a list is held since {short(hold.since)} and waits for a decision: llm-refresh runs {hold.run_id}")


def _show_run(run_id: uuid.UUID, *, as_json: bool) -> None:
    with open_runtime() as runtime, runtime.database.transaction() as connection:
        run = runs.find(connection, run_id)
        changes = len(ledger.read_changes(connection, since=0, limit=1000, run_id=run_id))
        hold = holds.open_hold(connection)
    if run is None:
        fail(f"there is no run {run_id}; `llm-refresh runs` lists them")
    elif as_json:
        echo_json(run)
    else:
        print_run(run, changes, waits=hold is not None and hold.run_id == run_id)
