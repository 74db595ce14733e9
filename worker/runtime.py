"""What tasks, routes and commands work with: built after a fork, by the one who needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.cadence import Cadence, cadence_of
from shared.catalogue.adoption import Adoption, adopt
from shared.catalogue.edits import Editor
from shared.catalogue.facts.describer import ModelDescriber
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.sync.endings import record_nothing
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.refresh import Refresher
from shared.catalogue.sync.rows import MAPPING, MATCHAAI, USE_DAYS, Json
from shared.catalogue.sync.sources import Sources
from shared.chat.accept import Submitter
from shared.chat.admission import caller_defaults_of
from shared.chat.dispatch import dispatch_limits_of
from shared.chat.notifier import ChatNotifier
from shared.chat.usage import callers_of, requests_of
from shared.clock import new_id, utc_now
from shared.db import WORKER_LIMITS, Connection, Database, Limits
from shared.notices.outbox import Outbox
from shared.redis_store import RedisStore, connect
from shared.settings import Settings
from worker.upkeep.upstream_reporter import ReportingGateway


@dataclass(frozen=True)
class Runtime:
    """The parts, put together for one process."""

    settings: Settings
    database: Database
    store: RedisStore
    describer: ModelDescriber
    policy: Policy
    cadence: Cadence
    refresher: Refresher
    editor: Editor
    submitter: Submitter
    notifier: ChatNotifier

    def close(self) -> None:
        """Give back the connections."""
        self.database.dispose()


def cadence_of_settings(settings: Settings) -> Cadence:
    """How often a refresh is due, as of now."""
    return cadence_of(settings.refresh_cron, settings.refresh_timezone, utc_now())


def policy_of(settings: Settings, cadence: Cadence) -> Policy:
    """The settings that a plan depends on."""
    setting = settings.refresh_grace_min_hours
    return Policy(
        default_key=settings.matchaai_default_model,
        max_shrink=settings.refresh_max_shrink,
        grace_syncs=settings.refresh_grace_syncs,
        grace_min_hours=cadence.grace_min_hours if setting is None else setting,
    )


def configured_source(settings: Settings) -> str:
    """The source of a refresh that names none."""
    return MATCHAAI if settings.upstream_given else MAPPING


def sources_of(settings: Settings, database: Database) -> Sources:
    """MatchaAI where it is set up; the mapping always. What calls of MatchaAI experience goes into the database."""
    base_url, key = settings.matchaai_base_url, settings.matchaai_api_key
    if base_url is None or key is None:
        return Sources(load_mapping(), None)
    return Sources(
        load_mapping(), lambda: ReportingGateway(database, base_url=base_url, api_key=key.get_secret_value())
    )


def adopter_of(settings: Settings) -> Callable[[Sequence[Json], Sequence[Json], datetime], Adoption]:
    """What decides, under these settings, about the rows of the system that this one replaces."""
    describer, policy = ModelDescriber(load_mapping()), policy_of(settings, cadence_of_settings(settings))

    def adopt_rows(models: Sequence[Json], usage: Sequence[Json], now: datetime) -> Adoption:
        return adopt(models, usage, describe=describer.load(), policy=policy, now=now)

    return adopt_rows


def used(connection: Connection, keys: Collection[str]) -> Mapping[str, int]:
    """How often each of these models was asked of late, from the usage table."""
    return {key: use["request_count"] for key, use in requests_of(connection, keys, days=USE_DAYS).items()}


def build_runtime(settings: Settings, process: str, *, pool_size: int = 5, limits: Limits = WORKER_LIMITS) -> Runtime:
    """Put the parts together. Opens no connection yet."""
    url = settings.database_url.get_secret_value()
    database = Database(url, application_name=process, pool_size=pool_size, limits=limits)
    describer = ModelDescriber(load_mapping())
    cadence = cadence_of_settings(settings)
    policy = policy_of(settings, cadence)
    refresher = Refresher(
        database=database,
        sources=sources_of(settings, database),
        describe=describer.load,
        policy=policy,
        ids=new_id,
        rules=lambda: describer.digest(policy),
        used=used,
        callers=lambda connection, keys: callers_of(connection, keys, days=USE_DAYS),
        record=Outbox(new_id).record if settings.notifies else record_nothing,
    )
    store = RedisStore(connect(settings.redis_url.get_secret_value()))
    editor = Editor(database=database, mapping=describer.mapping, policy=policy)
    submitter = Submitter(
        database,
        ids=new_id,
        deadline_seconds=settings.chat_deadline_seconds,
        max_open=settings.chat_max_queued,
        default_key=settings.matchaai_default_model,
        limits=dispatch_limits_of(settings),
        callers=caller_defaults_of(settings),
    )
    return Runtime(
        settings, database, store, describer, policy, cadence, refresher, editor, submitter, ChatNotifier(store)
    )
