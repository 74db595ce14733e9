"""The one place that puts the parts of a web process together. gunicorn's master loads this once, for all of them."""

from collections.abc import Mapping

from flask import Flask

from migrations.schema import head
from shared.background import BackgroundLoop
from shared.catalogue.facts.mapping import load_mapping
from shared.catalogue.listing_cache import ListingCache
from shared.chat.dispatch import dispatch_limits_of
from shared.db import WEB_LIMITS
from shared.logs import DirectLines
from shared.settings import Settings
from worker import process_limits
from worker.celery_app import make_celery
from worker.chat.dispatcher import Dispatcher
from worker.doctor.disks import folders, noted_state, room
from worker.messages import SOCKET_TIMEOUT_SECONDS, Publisher
from worker.runtime import build_runtime
from worker.web.access_log import AccessLog, observe_requests
from worker.web.api_keys import KeyRoutes
from worker.web.app import create_app, default_headers
from worker.web.auth import Authenticator
from worker.web.callers import CallerRoutes
from worker.web.chat_markdown import ChatMarkdownRoutes
from worker.web.chats import ChatRoutes
from worker.web.description import DescriptionRoutes
from worker.web.disk_room import DiskRoom
from worker.web.key_verifier import KeyVerifier
from worker.web.listing_fast_path import ListingFastPath
from worker.web.metrics_files import FOLDER
from worker.web.models import LISTING_PATH, ModelRoutes
from worker.web.openai.completions import CompletionRoutes
from worker.web.openai.models import PATH as OPENAI_LISTING_PATH
from worker.web.openai.models import OpenAIListing, OpenAIModelRoutes
from worker.web.openai.responses import ResponseRoutes
from worker.web.pages import PageRoutes
from worker.web.queue_positions import QueuePositions
from worker.web.readers import Readers
from worker.web.refreshes import RefreshRoutes
from worker.web.runs import RunRoutes
from worker.web.status import StatusRoutes
from worker.web.stopping import EXTENSION, Stopping
from worker.web.tasks import TaskRoutes
from worker.web.webhooks import WebhookRoutes

LISTING_POLL_SECONDS = 0.5
POOL_SIZE = 20
WARM_CONNECTIONS = 10


def prepare() -> None:
    """Make what all web processes need alike, before they are forked."""
    load_mapping()
    head()


def build(settings: Settings, lines: DirectLines, environ: Mapping[str, str]) -> Flask:
    """Put the web process together, with `lines` for its access log, and start following the catalogue's version."""
    # When it is loaded, prometheus_client looks for the folder, which a process of gunicorn may have to go without.
    from worker.web.metrics import MetricsRoutes, RequestTimes  # noqa: PLC0415

    runtime = build_runtime(settings, "web", pool_size=POOL_SIZE, limits=WEB_LIMITS)
    runtime.database.warm_up(WARM_CONNECTIONS)
    authenticator = Authenticator(settings, verify_key=KeyVerifier(runtime.database).verify)
    app_of_messages = make_celery(settings, socket_timeout_seconds=SOCKET_TIMEOUT_SECONDS)
    dispatcher = Dispatcher(app_of_messages, runtime.database, dispatch_limits_of(settings))
    publisher = Publisher(app_of_messages, dispatcher.take_turn)
    listing_cache = ListingCache(runtime.database, runtime.store, stale_after=runtime.cadence.stale_after)
    stopping = Stopping()
    routes = [*ModelRoutes(runtime, listing_cache).routes(), *RefreshRoutes(runtime, publisher, stopping).routes()]
    routes += [*RunRoutes(runtime).routes(), *TaskRoutes(runtime, publisher).routes()]
    routes += StatusRoutes(runtime, listing_cache).routes()
    most = process_limits.readers(process_limits.limit())
    readers = Readers(runtime.database, runtime.store, most=most, stopping=stopping)
    positions = QueuePositions(runtime.database, dispatch_limits_of(settings))
    routes += ChatRoutes(runtime, publisher, readers, positions).routes()
    routes += ChatMarkdownRoutes(runtime).routes()
    routes += [*KeyRoutes(runtime).routes(), *WebhookRoutes(runtime).routes(), *CallerRoutes(runtime).routes()]
    openai_listing = OpenAIListing(listing_cache)
    routes += [
        *OpenAIModelRoutes(runtime, openai_listing).routes(),
        *CompletionRoutes(runtime, publisher, readers).routes(),
    ]
    routes += ResponseRoutes(runtime, publisher, readers).routes()
    times = RequestTimes(environ.get(FOLDER))
    disks = DiskRoom(lambda: room(folders(settings, environ, noted_state(settings.llm_refresh_home))))
    routes += MetricsRoutes(runtime, authenticator, times, disks).routes()
    routes += PageRoutes(flower_port=settings.flower_port, chat_max_chars=settings.chat_max_chars).routes()
    description = DescriptionRoutes()
    routes += description.routes()
    description.describe(routes)
    readers.start()
    listing_cache.poll()
    BackgroundLoop(
        "listing",
        listing_cache.poll,
        pause_seconds=LISTING_POLL_SECONDS,
        event="llm_listing.not_followed",
        message="The listing stays as it was",
    ).start()
    app = create_app(settings, routes, authenticator)
    app.extensions[EXTENSION] = stopping
    observers = [times.observe, AccessLog(lines).observe]
    observe_requests(app, observers)
    headers = default_headers(settings)
    listings = {LISTING_PATH: lambda: listing_cache.current, OPENAI_LISTING_PATH: lambda: openai_listing.current}
    fast_path = ListingFastPath(app.wsgi_app, listings, authenticator, headers, observers)
    app.wsgi_app = fast_path  # type: ignore[method-assign]  # Flask's own way to put something in front
    return app
