"""What we change about Flower before it starts: its login, its queues, and which pages ask for the login."""

from __future__ import annotations

import hmac
import logging

from flower.api.tasks import GetQueueLengths
from flower.options import default_options
from flower.urls import handlers
from flower.views import BaseHandler
from flower.views.broker import BrokerView
from flower.views.monitor import Healthcheck, Metrics
from tornado.web import HTTPError, url

from shared.settings import Settings, flower_login
from shared.task_names import CHAT_QUEUE, DEFAULT_QUEUE, REFRESH_QUEUE

QUEUES = frozenset((REFRESH_QUEUE, CHAT_QUEUE, DEFAULT_QUEUE))


def set_up_flower(settings: Settings) -> None:
    """Give Flower its login and our pages. Raises SettingsError where nobody could log in, or anybody.

    Flower takes its pages from a list that it reads when it is built: ours come first in it.
    """
    # The option itself, not FLOWER_BASIC_AUTH: Flower takes a comma in that variable for the end of a login.
    default_options.basic_auth = [flower_login(settings)]
    default_options.logging = settings.log_level
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    logging.getLogger("flower.inspector").addFilter(_without_silent_inspections)
    handlers[:0] = [
        url(r"/metrics", GuardedMetrics, {"token": token}),
        url(r"/healthcheck", GuardedHealthcheck, {"token": token}),
        url(r"/broker", Broker),
        url(r"/api/queues/length", QueueLengths),
    ]


def _without_silent_inspections(record: logging.LogRecord) -> bool:
    """Flower asks all workers as soon as it starts, and warns where none answers: it is there before they are.

    That no worker answers is for doctor and for Flower's own pages to say; a failure with a cause stays.
    """
    return record.msg != "Inspect method %s failed"


class _Guarded(BaseHandler):
    """A page for machines: takes Flower's login, or METRICS_TOKEN as a bearer token."""

    def initialize(self, token: str) -> None:
        self._token = token

    def prepare(self) -> None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if self._token and scheme.lower() == "bearer":
            allowed = hmac.compare_digest(token.strip().encode(), self._token.encode())
        else:
            allowed = bool(self.get_current_user())  # raises 401 by itself for a wrong login
        if not allowed:
            raise HTTPError(401)


class GuardedMetrics(_Guarded, Metrics):
    """Flower's figures about tasks and workers."""


class GuardedHealthcheck(_Guarded, Healthcheck):
    """Whether Flower answers."""


class _AllQueues(BaseHandler):
    """Names every queue of ours, also before a worker has said that it listens there."""

    def get_active_queue_names(self) -> list[str]:
        names: list[str] = super().get_active_queue_names()
        return sorted(QUEUES.union(names))


class Broker(_AllQueues, BrokerView):
    """The Broker page."""


class QueueLengths(_AllQueues, GetQueueLengths):
    """The lengths of the queues."""
