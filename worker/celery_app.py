"""Celery's options, queues and routes. No tasks."""

import ssl
from typing import Any
from urllib.parse import urlsplit

from celery import Celery

from shared.settings import Settings
from shared.task_names import CHAT_QUEUE, CHAT_TASK, DEFAULT_QUEUE, REFRESH_QUEUE, REFRESH_TASK
from worker.schedule import beat_entries

RESULT_SECONDS = 86_400


def make_celery(settings: Settings, *, socket_timeout_seconds: float = 10, own_transport: bool = True) -> Celery:
    """The Celery application. `socket_timeout_seconds` bounds each exchange with Redis.

    `own_transport` is for who sends and receives: Flower knows a broker only by the name of kombu's.
    """
    redis_url = settings.redis_url.get_secret_value()
    # Celery takes no certificate without being told, or any; what the address itself says comes before this.
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED} if urlsplit(redis_url).scheme == "rediss" else None
    app = Celery("llm-refresh", set_as_current=False)
    app.conf.update(
        broker_url=redis_url,
        broker_transport="worker.broker:Transport" if own_transport else None,
        broker_use_ssl=tls,
        worker_consumer="worker.broker:Consumer",
        result_backend=f"worker.broker:Backend+{redis_url}",
        redis_backend_use_ssl=tls,
        # Else each thread, and each greenlet of a web process, builds a backend of its own.
        result_backend_thread_safe=True,
        timezone="UTC",
        task_default_queue=DEFAULT_QUEUE,
        task_routes={REFRESH_TASK: {"queue": REFRESH_QUEUE}, CHAT_TASK: {"queue": CHAT_QUEUE}},
        # JSON only: a message can never be code.
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_expires=RESULT_SECONDS,
        # The rows are the truth, a message only says that there is work: it is acknowledged when it is taken.
        task_acks_late=False,
        task_track_started=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        # Flower knows a task from when a worker has it; an event for each sending would double what sending costs.
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport(socket_timeout_seconds),
        result_backend_transport_options=_transport(socket_timeout_seconds),
        redis_socket_timeout=socket_timeout_seconds,
        redis_socket_connect_timeout=min(2.0, socket_timeout_seconds),
        redis_backend_health_check_interval=10,
        redis_retry_on_timeout=False,
        beat_schedule=beat_entries(settings.refresh_cron, settings.refresh_timezone),
    )
    return app


def _transport(socket_timeout_seconds: float) -> dict[str, Any]:
    return {
        "socket_timeout": socket_timeout_seconds,
        "socket_connect_timeout": min(2.0, socket_timeout_seconds),
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_connections": 500,
        # No copies of messages under way in Redis: a row whose message is lost gets another one within seconds, where
        # kombu would look after an hour.
        "ack_emulation": False,
        # For who publishes: each of them tries again by itself, or leaves it to upkeep. Consumers have their own.
        "max_retries": 0,
    }
