"""`llm-refresh doctor`: looks at everything that this system stands on, and says what is wrong and what to do."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Literal

import click
import sqlalchemy as sa

from shared import system_status
from shared.catalogue.sync import queued_runs, runs
from shared.catalogue.sync.holds import open_hold
from shared.chat import recent
from shared.db import DISK_FULL, Database, DatabaseError, DatabaseFailure, DatabaseUnavailable
from shared.notices.apprise_calls import check_receivers
from shared.notices.deliveries import backlog
from shared.notices.receivers import receivers_of
from shared.redis_rights import ADVICE, missing_rights
from shared.redis_store import CommandForbidden, RedisStore, RedisUnavailable, WritesRefused, connect
from shared.settings import DOTENV, Settings, SettingsError, misnamed
from shared.upstream_health import read_health
from shared.webhooks.endpoints import list_unhealthy
from worker.commands.context import echo_json, json_option, quiet_logs, say
from worker.commands.entry import GOOD, NOT_GOOD, settings_or_exit
from worker.doctor import checks
from worker.doctor.disks import folders, measure, noted_state, of_disks
from worker.doctor.findings import Finding, fault, good, warning
from worker.doctor.live_probe import check_gateway
from worker.doctor.web import check_web
from worker.doctor.work import Facts, of_work
from worker.runtime import cadence_of_settings, configured_source
from worker.web.key_set import KeysUnavailable, fetch_keys

DATABASE_SECONDS, REDIS_SECONDS, SETTINGS_SECONDS, DISK_SECONDS, LIVE_SECONDS = 15.0, 8.0, 25.0, 5.0, 27.0
WEB_SECONDS = 8.0
"""Each group has its own time; all of them run at once, and end within 30 seconds together."""
MAX_DETAIL_CHARS = 400
_MARKS = {"good": "✓", "warning": "!", "fault": "✗"}

GroupName = Literal["settings", "disk", "web", "database", "redis", "live"]
Check = Callable[[Settings, Facts], Iterator[Finding]]
Group = tuple[GroupName, float, Check]


@click.command()
@click.option("--live", is_flag=True, help="Ask the real MatchaAI too: the list, and tiny completions.")
@json_option
def doctor(live: bool, as_json: bool) -> None:
    """Look at settings, database, Redis, workers and rows; exit 1 when something is at fault."""
    settings = settings_or_exit()
    quiet_logs(settings, level="error")
    groups: list[Group] = [
        ("settings", SETTINGS_SECONDS, check_settings),
        ("disk", DISK_SECONDS, check_disks),
        ("web", WEB_SECONDS, lambda settings, _: check_web(settings.port)),
        ("database", DATABASE_SECONDS, check_database),
        ("redis", REDIS_SECONDS, check_redis),
    ]
    if live:
        groups.append(("live", LIVE_SECONDS, lambda settings, _: check_gateway(settings)))
    findings = examine(settings, groups)
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        echo_json(
            {
                "healthy": not faults,
                "faults": faults,
                "warnings": warnings,
                "findings": [asdict(finding) | {"runbook": finding.section} for finding in findings],
            }
        )
    else:
        for finding in findings:
            say(f"{_MARKS[finding.level]} {finding.name}: {finding.detail}")
            if finding.advice is not None:
                say(f"    {finding.advice} ({finding.section})")
        click.echo(f"faults: {faults}, warnings: {warnings}")
    sys.exit(NOT_GOOD if faults else GOOD)


def examine(settings: Settings, groups: list[Group]) -> list[Finding]:
    """What all groups find, in their order, then what is made of it together.

    A group that does not end in its time is a fault, and is left behind.
    """
    facts = Facts()
    by_group: dict[str, list[Finding]] = {name: [] for name, _, _ in groups}
    finished_groups: set[str] = set()

    def look(name: str, check: Check) -> None:
        for finding in check(settings, facts):
            by_group[name].append(finding)
        finished_groups.add(name)

    threads = [threading.Thread(target=look, args=(name, check), daemon=True) for name, _, check in groups]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    findings: list[Finding] = []
    for thread, (name, seconds, _) in zip(threads, groups, strict=True):
        thread.join(max(0.0, started + seconds - time.monotonic()))
        findings += by_group[name]
        if thread.is_alive():
            findings.append(
                fault(
                    name,
                    f"no answer within {seconds:g} s",
                    "it takes connections and says nothing: look whether its process is stopped, or its disk hangs",
                )
            )
        elif name not in finished_groups:
            findings.append(fault(name, "the check itself broke off", "what broke it stands above"))
    return findings + list(of_work(facts))


def check_settings(settings: Settings, facts: Facts | None = None) -> Iterator[Finding]:
    """The settings, the addresses of notices, and the key set where one is used."""
    yield from checks.of_settings(settings, misnamed(os.environ, DOTENV))
    try:
        check_receivers(settings, deadline_seconds=15)
    except SettingsError as error:
        yield fault("notices", str(error), "correct it: no worker starts with it (docs/operations.md, notices)")
    if settings.jwks_url is not None:
        try:
            keys = fetch_keys(settings.jwks_url)
        except KeysUnavailable as error:
            yield fault(
                "keys",
                f"JWKS_URL: {error}: no token can be verified",
                "open the address with curl: it must answer with a JSON Web Key Set",
            )
        else:
            yield good("keys", f"{len(keys)} keys at JWKS_URL")


def check_disks(settings: Settings, facts: Facts | None = None) -> Iterator[Finding]:
    """The disks that this machine's processes write to."""
    try:
        yield from of_disks(measure(folders(settings, os.environ, noted_state(settings.llm_refresh_home))))
    except OSError as error:
        yield fault("disk", f"cannot be looked at ({error.strerror})", "look at the mount of LLM_REFRESH_HOME")


def check_database(settings: Settings, facts: Facts | None = None) -> Iterator[Finding]:
    """PostgreSQL: reachable, migrated, its roles and policies, its clock, and how the rows stand."""
    facts = facts or Facts()
    database = Database(settings.database_url.get_secret_value(), application_name="doctor", pool_size=1)
    facts.database = "away"  # until it has answered
    try:
        unreachable = _why_unreachable(database)
        if unreachable is not None:
            yield checks.of_unreachable(unreachable)
            return
        with database.transaction(None, timeout_seconds=5) as connection:
            before = time.time()
            theirs = system_status.clock(connection).timestamp()
            clock = checks.of_clock("PostgreSQL", theirs - (before + time.time()) / 2)
            login, writes = system_status.login(connection), system_status.takes_writes(connection)
        facts.database = "answers"
        yield good("database", "PostgreSQL answers")
        yield clock
        yield from checks.of_writes(writes, disk_full=writes and _disk_is_full(database))
        yield from checks.of_login(login)
        if "service_role" in login.missing_roles:
            return  # nothing more can be read
        revision = _revision(database)
        yield revision
        if revision.level != "fault":
            yield from _rows(settings, database, facts)
    except DatabaseFailure as error:
        yield fault("database", str(error), "look at PostgreSQL's log at this moment")
    finally:
        database.dispose()


def _rows(settings: Settings, database: Database, facts: Facts) -> Iterator[Finding]:
    with database.transaction(timeout_seconds=5) as connection:
        status = system_status.read_status(
            connection,
            max_parallel=settings.matchaai_max_parallel,
            requests_per_minute=settings.matchaai_requests_per_minute,
        )
        hold, waiting = open_hold(connection), backlog(connection)
        unhealthy = list_unhealthy(connection)
        held_run = None if hold is None else runs.find(connection, hold.run_id)
        facts.health, facts.endings = read_health(connection), recent.chat_endings(connection)
        facts.fallbacks = recent.fallbacks(connection)
        facts.holders = system_status.lock_holders(connection)
        configured = configured_source(settings)
        changed = queued_runs.source_changed(connection, configured)
        tried = changed and queued_runs.source_tried(connection, configured)
    facts.status = status
    yield from checks.of_status(status, stale_after=cadence_of_settings(settings).stale_after)
    receivers = {receiver.id: receiver.label for receiver in receivers_of(settings)}
    yield from checks.of_notices(receivers, waiting, status.notices_waiting)
    yield from checks.of_webhooks(unhealthy)
    yield from checks.of_hold(hold, dismissed_before=held_run and held_run["dismissed_before"])
    yield from checks.of_source(configured, changed=changed, tried=tried)


def _why_unreachable(database: Database) -> str | None:
    """What PostgreSQL, or the way to it, says to a connection; None when it takes one. Holds no password."""
    try:
        database.engine.connect().close()
    except sa.exc.DBAPIError as error:
        lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
        return " ".join(lines)[:MAX_DETAIL_CHARS] or type(error.orig).__name__
    return None


def _disk_is_full(database: Database) -> bool:
    try:
        with database.transaction(None, timeout_seconds=5) as connection:
            system_status.spill_to_disk(connection)
    except DatabaseUnavailable as error:
        if error.sqlstate != DISK_FULL:
            raise
        return True
    return False


def _revision(database: Database) -> Finding:
    from migrations.schema import Schema, describe_schema, read_schema  # noqa: PLC0415 - slow to load

    try:
        with database.transaction(timeout_seconds=5) as connection:
            schema = read_schema(connection)
    except DatabaseError:
        schema = Schema(None, None)  # it is not ours to read
    return checks.of_revision(schema.fit, describe_schema(schema))


def check_redis(settings: Settings, facts: Facts | None = None) -> Iterator[Finding]:
    """Redis: reachable, what it keeps and drops, its clock, and who has said there that it is alive."""
    facts = facts or Facts()
    client = connect(settings.redis_url.get_secret_value())
    store = RedisStore(client)
    try:
        missing = missing_rights(client)
        if missing:
            yield fault("redis rights", f"Redis does not allow its user {', '.join(missing)}", ADVICE)
            return
        yield good("redis", "answers, and allows its user what is needed")
        try:
            store.check_writes()
            facts.redis = "writes"
        except WritesRefused as error:
            facts.redis = "no writes"
            yield checks.of_no_writes(error.reason)
        yield from _server(store, full=facts.redis == "no writes")
        facts.alive = store.alive()
    except RedisUnavailable as error:
        yield fault("redis", str(error), "look at REDIS_URL and the server: chats wait until it is back")


def _server(store: RedisStore, *, full: bool) -> Iterator[Finding]:
    before = time.time()
    try:
        server = store.server()
    except CommandForbidden:
        yield warning(
            "redis rights",
            "its user may not use INFO: memory, eviction, persistence and clock were not looked at",
            ADVICE,
        )
        return
    yield checks.of_clock("Redis", server.now - (before + time.time()) / 2)
    if not full:
        yield checks.of_memory(server)
    yield from checks.of_redis(server, takes_writes=not full)
