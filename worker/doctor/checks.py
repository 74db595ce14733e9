"""What `llm-refresh doctor` makes of settings, PostgreSQL, Redis and the catalogue. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from shared.catalogue.sync.held import most_used, summary
from shared.catalogue.sync.holds import Hold
from shared.notices.deliveries import Backlog
from shared.redis_store import RedisServerInfo
from shared.settings import Settings
from shared.system_status import LoginRights, SystemStatus
from shared.webhooks.endpoints import UnhealthyEndpoint
from worker.doctor.findings import Finding, fault, good, warning

SKEW_WARNING_SECONDS: Final = 5.0
SKEW_FAULT_SECONDS: Final = 60.0
"""The skew that the schedule allows for."""
_MAKE_ROOM: Final = "make room on its machine; never delete anything below its data by hand"
MEMORY_WARNING_SHARE: Final = 0.85
MAX_ENDPOINTS_NAMED: Final = 5


def of_settings(settings: Settings, misnamed: Sequence[str] = ()) -> Iterator[Finding]:
    """Settings that can be read and leave something out. `misnamed`: variables that look like ours and are not."""
    yield good("settings", f"{settings.llm_refresh_env} mode, every variable can be read")
    for line in misnamed:
        yield warning("settings", line, "correct the name, or leave it if it is another program's")
    if (settings.matchaai_base_url is None) != (settings.matchaai_api_key is None):
        missing = "MATCHAAI_BASE_URL" if settings.matchaai_base_url is None else "MATCHAAI_API_KEY"
        yield fault("matchaai", f"half set up: {missing} is missing, and MatchaAI is not asked", "set it")
    elif not settings.upstream_given:
        text = "MatchaAI is not set up: refreshes read the built-in mapping, chats get"
        if settings.local:
            yield good("matchaai", f"{text} the stand-in")
        else:
            yield warning("matchaai", f"{text} 503", "set MATCHAAI_BASE_URL and MATCHAAI_API_KEY")
    elif settings.matchaai_mission_id is None:
        yield fault("matchaai", "MATCHAAI_MISSION_ID is missing: no completion can be asked for", "set it")
    else:
        yield good("matchaai", f"set up; --live asks it (model field: {settings.matchaai_model_field})")


def of_login(login: LoginRights) -> Iterator[Finding]:
    """Whether the policies hold for the application's login."""
    advice = "give DATABASE_URL a login of its own (see docs/operations.md, logins)"
    if login.is_superuser:
        yield fault("login", f"{login.name} is a superuser: no policy holds for it", advice)
    elif login.bypasses_policies:
        yield fault("login", f"{login.name} has BYPASSRLS: no policy holds for it", advice)
    elif login.owns:
        owned = ", ".join(login.owns[:3])
        yield fault("login", f"{login.name} owns tables ({owned} …): it can switch their policies off", advice)
    else:
        yield good("login", f"{login.name} owns nothing, and the policies hold for it")
    if login.missing_roles:
        *others, last = login.missing_roles
        missing = f"{', '.join(others)} and {last}" if others else last
        yield fault(
            "roles",
            f"{login.name} may not take {missing}",
            "run `llm-refresh migrate` with MIGRATE_DATABASE_URL, or GRANT them",
        )
    if login.open_tables:
        yield fault(
            "policies",
            f"row level security is off on {', '.join(login.open_tables)}",
            "ALTER TABLE … ENABLE ROW LEVEL SECURITY, … FORCE ROW LEVEL SECURITY",
        )


def of_unreachable(text: str) -> Finding:
    """PostgreSQL takes no connection. `text`: what it, or the way to it, says."""
    if "No space left on device" in text:
        return fault("disk", f"PostgreSQL's disk is full: {text}", _MAKE_ROOM)
    return fault("database", f"PostgreSQL cannot be used: {text}", "look at DATABASE_URL and the server")


def of_writes(takes_writes: bool, *, disk_full: bool = False) -> Iterator[Finding]:
    """Whether PostgreSQL takes writes; nothing is said where it does, for it should."""
    if disk_full:
        yield fault("disk", "PostgreSQL's disk is full: chats and refreshes are refused", _MAKE_ROOM)
    if not takes_writes:
        yield fault(
            "database writes",
            "PostgreSQL is read-only: it is a standby, or writing was switched off"
            " (hosted servers do so when their disk is full)",
            "let DATABASE_URL name the primary, or make room on its disk and switch it on again",
        )


def of_revision(fit: Literal["current", "behind", "newer", "too_new"], detail: str) -> Finding:
    """Whether this version's code works with the database's schema."""
    if fit == "current":
        return good("migrations", detail)
    if fit == "newer":
        return warning("migrations", detail, "finish the upgrade: old processes go on working meanwhile")
    advice = "run `llm-refresh migrate`" if fit == "behind" else "start the version that migrated, or restore a backup"
    return fault("migrations", detail, advice)


def of_clock(name: str, ahead_seconds: float) -> Finding:
    """How far another machine's clock is ahead of ours (negative: behind)."""
    apart = abs(ahead_seconds)
    text = f"{name}'s clock is {apart:.1f} s {'ahead of' if ahead_seconds > 0 else 'behind'} this machine's"
    if apart > SKEW_FAULT_SECONDS:
        return fault("clock", text, "let both machines follow a time server: nights are due by the database's clock")
    if apart > SKEW_WARNING_SECONDS:
        return warning("clock", text, "let both machines follow a time server")
    return good("clock", text)


def of_memory(server: RedisServerInfo) -> Finding:
    """How much room Redis has left, where it has a limit."""
    used = f"{server.used_bytes / 2**20:.0f} MB used"
    if not server.max_bytes:
        return good("redis memory", f"{used}, without a limit of its own")
    text = f"{used} of {server.max_bytes / 2**20:.0f} MB (maxmemory)"
    if server.used_bytes > MEMORY_WARNING_SHARE * server.max_bytes:
        return warning("redis memory", f"nearly full: {text}", "raise maxmemory, or find what fills it")
    return good("redis memory", text)


def of_no_writes(reason: str) -> Finding:
    """Redis refuses what changes a key: no message can be sent, no sign of life given."""
    text = f"Redis refuses every write: {reason}; chats are accepted and wait in PostgreSQL"
    if "memory" in reason:
        return fault("redis memory", text, "raise maxmemory: CONFIG SET maxmemory 512mb, and in its configuration")
    if "replica" in reason:
        return fault("redis writes", text, "let REDIS_URL name the primary")
    return fault("redis writes", text, "look at Redis's log and at the disk that its data is on")


def of_redis(server: RedisServerInfo, *, takes_writes: bool = True) -> Iterator[Finding]:
    """Whether Redis keeps what is queued. A disk that it cannot write to is told where writes are refused."""
    if server.eviction_policy.startswith("allkeys"):
        yield fault(
            "eviction",
            f"Redis drops any key when it is full (maxmemory-policy {server.eviction_policy}): queues too",
            "set maxmemory-policy noeviction",
        )
    elif server.eviction_policy != "noeviction":
        yield warning(
            "eviction",
            f"Redis drops keys that expire when it is full ({server.eviction_policy}): signs of "
            "life and results go first",
            "set maxmemory-policy noeviction",
        )
    else:
        yield good("eviction", "Redis evicts nothing")
    if not server.last_write_good and takes_writes:
        yield fault("persistence", "Redis could not write to its disk last time", "look at its disk and its log")
    elif not (server.appends or server.saves):
        yield warning(
            "persistence",
            "Redis keeps nothing over a restart: what is queued is published again then",
            "set appendonly yes",
        )
    else:
        yield good("persistence", "append-only file" if server.appends else "snapshots")


def of_hold(hold: Hold | None, *, dismissed_before: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """The list that waits for a decision, whatever has failed since, and who dismissed this very list before."""
    if hold is None:
        return
    used = most_used(hold.held, most=3)
    dismissal = ""
    if dismissed_before is not None:
        at = datetime.fromisoformat(dismissed_before["at"]).astimezone(UTC)
        dismissal = f"; this very list was dismissed before, by {dismissed_before['by']} at {at:%Y-%m-%d %H:%M} UTC"
    yield warning(
        "held list",
        f"held since {hold.since:%Y-%m-%d %H:%M} UTC: {summary(hold.held)}"
        + (f"; in use: {used}" if used else "; none of them in use")
        + dismissal,
        f"see `llm-refresh runs {hold.run_id}`; apply it with `llm-refresh refresh --force"
        f" {hold.held['sha256']}`, or end the hold with --dismiss",
    )


def of_source(configured: str, *, changed: bool, tried: bool) -> Iterator[Finding]:
    """Whether the list comes from the source that is set up now. `tried`: a refresh has asked it since."""
    if changed:
        advice = "see `llm-refresh runs`, then `llm-refresh refresh`" if tried else "a worker refreshes once by itself"
        yield warning("source", f"the list is not from the source that is set up now ({configured})", advice)


def of_status(now: SystemStatus, *, stale_after: timedelta) -> Iterator[Finding]:
    """The catalogue, its last runs, and notices. `stale_after`: the age at which the list is stale."""
    yield from _catalogue(now)
    yield _last_sync(now, stale_after)
    yield from _last_run(now)


def of_notices(receivers: Mapping[str, str], waiting: Sequence[Backlog], undelivered: int) -> Iterator[Finding]:
    """What waits for whom. `receivers`: id -> which address it is; `unsent`: notices ten minutes old."""
    overdue = [backlog for backlog in waiting if backlog.is_overdue]
    for backlog in overdue:
        why = f": {backlog.last_error}" if backlog.last_error else ""
        since = f"{backlog.waiting} not delivered, the oldest of {backlog.oldest:%Y-%m-%d %H:%M} UTC{why}"
        if backlog.receiver in receivers:
            yield warning(
                "notices",
                f"{receivers[backlog.receiver]}: {since}",
                "look at that address and its receiver; docs/operations.md, notices",
            )
        else:
            yield warning(
                "notices",
                f"{backlog.receiver}, which is set up no more: {since}",
                "the workers give them to the receivers that are set up, within minutes",
            )
    if undelivered and not overdue:
        yield warning(
            "notices",
            f"{undelivered} not sent to anybody after ten minutes",
            "start the workers with NOTIFY_URLS or NOTIFY_WEBHOOK_URL",
        )
    if receivers and not overdue and not undelivered:
        yield good("notices", f"receivers: {len(receivers)}; nothing has waited for ten minutes")


def of_webhooks(unhealthy: Sequence[UnhealthyEndpoint]) -> Iterator[Finding]:
    """Endpoints of callers that are switched off, or have failed for ten minutes."""
    for endpoint in unhealthy[:MAX_ENDPOINTS_NAMED]:
        why = f": {endpoint.last_error}" if endpoint.last_error else ""
        state = "is switched off" if endpoint.is_disabled else f"fails since {endpoint.since:%Y-%m-%d %H:%M} UTC"
        yield warning(
            "webhooks",
            f"the endpoint {endpoint.id} of {endpoint.subject} {state}{why}",
            "its owner has to look at it; `llm-refresh webhooks enable` or `remove`",
        )
    if len(unhealthy) > MAX_ENDPOINTS_NAMED:
        more = len(unhealthy) - MAX_ENDPOINTS_NAMED
        yield warning("webhooks", f"{more} more endpoints fail or are off", "`llm-refresh webhooks list` shows them")


def _catalogue(now: SystemStatus) -> Iterator[Finding]:
    if not now.active_models:
        yield fault("catalogue", "no model is active", "run `llm-refresh refresh`")
    elif not now.has_default:
        yield fault(
            "catalogue",
            f"{now.active_models} models are active, none is the default",
            "run `llm-refresh set-default KEY`",
        )
    else:
        yield good("catalogue", f"{now.active_models} active models, one of them the default")


def _last_sync(now: SystemStatus, stale_after: timedelta) -> Finding:
    hours = now.age_seconds / 3600
    last = f"the last run {now.last_run}" + (f" ({now.last_error})" if now.last_error else "")
    if now.age_seconds > stale_after.total_seconds():
        since = f"{hours:.0f} hours without a good sync" + (f"; {last}" if now.last_run else "; nothing ran")
        return fault("last sync", since, "`llm-refresh runs` says why; when that is mended, `llm-refresh refresh`")
    if not now.ever_synced:
        return warning(
            "last sync", "none has succeeded yet" + (f"; {last}" if now.last_run else ""), "run `llm-refresh refresh`"
        )
    return good("last sync", f"{hours:.1f} hours ago")


def _last_run(now: SystemStatus) -> Iterator[Finding]:
    """The run that ended last, where it came to nothing; a held list has a line of its own until it is decided."""
    if now.ever_synced and now.last_run in ("failed", "abandoned"):
        cause = f" ({now.last_error})" if now.last_error else ""
        yield warning(
            "last run",
            f"the last run {now.last_run}{cause}",
            "mend the cause, then `llm-refresh refresh`; the next night tries again",
        )
