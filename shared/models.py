"""The tables, as SQLAlchemy sees them. What migrations make is compared with this by a test.

It is longer than 300 lines because a schema is read as one: its tables refer to each other, and share one metadata.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

from shared.roles import ROLES
from shared.vocabulary import (
    CHANGE_KINDS,
    CHAT_CLASSES,
    CHAT_ERROR_CODES,
    CHAT_STATUSES,
    DELIVERY_STATUSES,
    DISABLED_REASONS,
    FALLBACK_REASONS,
    NOTICE_KINDS,
    RUN_STATUSES,
    RUN_TRIGGERS,
    WAITING_FOR,
)

metadata = sa.MetaData()


def _moment(name: str, *, nullable: bool = True, default: bool = False) -> sa.Column[object]:
    return sa.Column(
        name, TIMESTAMP(timezone=True), nullable=nullable, server_default=sa.text("now()") if default else None
    )


def _json(name: str, empty: str | None = "{}") -> sa.Column[object]:
    return sa.Column(
        name, JSONB, nullable=empty is None, server_default=sa.text(f"'{empty}'::jsonb") if empty is not None else None
    )


def one_of(column: str, values: tuple[str, ...]) -> str:
    """The condition of a CHECK that lets a text column hold these words only."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


llm_models = sa.Table(
    "llm_models",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("matcha_llm_id", sa.Integer, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_key", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    _json("capabilities"),
    sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("display_order", sa.Integer, nullable=False, server_default=sa.text("1000")),
    _moment("created_at", nullable=False, default=True),
    _moment("updated_at", nullable=False, default=True),
    _moment("last_synced_at"),
    sa.Column("missed_syncs", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("last_missed_at"),
    _json("overrides"),
    _json("provenance"),
    # When upstream last said that it does not know this id: for the next refresh to look at.
    _moment("unknown_upstream_at"),
    # The source that listed it; `matchaai` for good once MatchaAI has.
    sa.Column("listed_by", sa.Text),
    sa.UniqueConstraint("matcha_llm_id", name="llm_models_matcha_llm_id_key"),
    sa.UniqueConstraint("model_key", name="llm_models_model_key_key", deferrable=True, initially="IMMEDIATE"),
    sa.CheckConstraint("is_active OR NOT is_default", name="llm_models_default_is_active"),
    sa.Index("idx_llm_models_matcha_id", "matcha_llm_id"),
    sa.Index("idx_llm_models_active", "is_active"),
    sa.Index("llm_models_one_default", "is_default", unique=True, postgresql_where=sa.text("is_default")),
)

llm_catalogue_version = sa.Table(
    "llm_catalogue_version",
    metadata,
    sa.Column("only_row", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    # The moment of migration: nights before it have not been missed.
    _moment("watermark", nullable=False, default=True),
    _moment("last_synced_at"),
    sa.Column("source", sa.Text),
    # What the last applied sync was made of, and the version it left: the same again has nothing to do.
    sa.Column("settled_inputs", sa.Text),
    sa.Column("settled_version", sa.BigInteger),
    sa.CheckConstraint("only_row", name="llm_catalogue_version_only_row"),
)

llm_sync_runs = sa.Table(
    "llm_sync_runs",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("trigger", sa.Text, nullable=False),
    # The due local time of a nightly run, without a zone on purpose: an hour that repeats makes one night.
    sa.Column("scheduled_for", TIMESTAMP(timezone=False)),
    sa.Column("source", sa.Text),
    _json("options"),
    sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'queued'")),
    _json("counts"),
    _json("errors", "[]"),
    _json("held", None),
    sa.Column("error_code", sa.Text),
    sa.Column("error_detail", sa.Text),
    sa.Column("fetch_ms", sa.Integer),
    sa.Column("plan_ms", sa.Integer),
    sa.Column("apply_ms", sa.Integer),
    sa.Column("upstream_sha256", sa.Text),
    sa.Column("task_id", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("lease_until"),
    _moment("created_at", nullable=False, default=True),
    # When a queued run may be published (again): a lost message costs one pause, a failed night waits its turn.
    _moment("publish_at", nullable=False, default=True),
    _moment("started_at"),
    _moment("finished_at"),
    # Of a held run: who has decided not to apply its list.
    _moment("dismissed_at"),
    sa.Column("dismissed_by", sa.Text),
    sa.UniqueConstraint("scheduled_for", name="llm_sync_runs_scheduled_for_key"),
    sa.CheckConstraint(one_of("status", RUN_STATUSES), name="llm_sync_runs_status"),
    sa.CheckConstraint(one_of("trigger", RUN_TRIGGERS), name="llm_sync_runs_trigger"),
    sa.Index(
        "llm_sync_runs_one_running",
        sa.text("(status = 'running')"),
        unique=True,
        postgresql_where=sa.text("status = 'running'"),
    ),
    # One queued run for the same options: later requests join it.
    sa.Index(
        "llm_sync_runs_one_queued",
        "options",
        unique=True,
        postgresql_where=sa.text("status = 'queued' AND scheduled_for IS NULL"),
    ),
    sa.Index("llm_sync_runs_newest", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("llm_sync_runs_task_id", "task_id"),
)

llm_model_changes = sa.Table(
    "llm_model_changes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey("llm_sync_runs.id", name="llm_model_changes_run_id_fkey")),
    sa.Column("kind", sa.Text, nullable=False),
    # Of the model that a line is about; `erased` is about none.
    sa.Column("matcha_llm_id", sa.Integer),
    sa.Column("model_key", sa.Text),
    _json("before", None),
    _json("after", None),
    sa.Column("actor", sa.Text, nullable=False),
    _moment("at", nullable=False, default=True),
    sa.CheckConstraint(one_of("kind", CHANGE_KINDS), name="llm_model_changes_kind"),
    sa.CheckConstraint(
        "kind = 'erased' OR (matcha_llm_id IS NOT NULL AND model_key IS NOT NULL)", name="llm_model_changes_model"
    ),
    sa.Index("llm_model_changes_run_id", "run_id"),
    # Answers for retired keys: which change took a key away.
    sa.Index(
        "llm_model_changes_key_before",
        sa.text("(before ->> 'model_key')"),
        sa.text("id DESC"),
        postgresql_where=sa.text("before ? 'model_key'"),
    ),
)

llm_chats = sa.Table(
    "llm_chats",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_sha256", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("system_prompt", sa.Text),
    _json("history", "[]"),
    sa.Column("requested_model", sa.Text),
    sa.Column("model_key", sa.Text, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("matcha_llm_id", sa.Integer, nullable=False),
    sa.Column("fallback_reason", sa.Text),
    _json("fallback_story", None),
    sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'queued'")),
    sa.Column("answer", sa.Text),
    sa.Column("error_code", sa.Text),
    # For its caller: it names nothing of the inside.
    sa.Column("error_detail", sa.Text),
    # For operators: the whole cause. `authenticated` may read neither this nor the next one.
    sa.Column("error_cause", sa.Text),
    # What upstream answered last, for a chat that expires while it waits.
    sa.Column("last_failure", sa.Text),
    # Claims ever made, which is the fence: it never goes back. Those that a chat is not to blame for are returned.
    sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("attempts_returned", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
    # Counts what a reader can see change: the id of events.
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    _moment("lease_until"),
    _moment("publish_at", nullable=False, default=True),
    sa.Column("publishes", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("created_at", nullable=False, default=True),
    _moment("deadline_at", nullable=False),
    _moment("started_at"),
    _moment("finished_at"),
    sa.Column("upstream_ms", sa.Integer),
    # What a queued chat waits for, since when, and the gateway's last failure that made it wait.
    sa.Column("waiting_for", sa.Text),
    _moment("waiting_since"),
    sa.Column("last_failure_code", sa.Text),
    _moment("last_failure_at"),
    # Keys that are tried where the requested one is not there; strict: the default is not.
    sa.Column("other_models", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("strict", sa.Boolean, nullable=False, server_default=sa.false()),
    # Its caller closed the connection and has nothing to come back with: then it is cancelled. Who sent the question
    # again meanwhile is counted, so that an older connection's end gives nothing up.
    _moment("cancel_at"),
    sa.Column("resends", sa.Integer, nullable=False, server_default=sa.text("0")),
    # What one of /v1/responses has beside the question: instructions, metadata, the response before. Content.
    sa.Column("response", JSONB(none_as_null=True)),
    # When its content was taken away.
    _moment("erased_at"),
    # The order in which waiting chats get their turn: by class, then by caller (shared/chat/dispatch.py).
    sa.Column("class", sa.Text, nullable=False, server_default=sa.text("'interactive'")),
    # When the message of its current turn was sent, which an open chat keeps while it runs. None: it waits its turn.
    _moment("dispatched_at"),
    sa.CheckConstraint(one_of("class", CHAT_CLASSES), name="llm_chats_class"),
    sa.CheckConstraint(one_of("waiting_for", WAITING_FOR), name="llm_chats_waiting_for"),
    sa.CheckConstraint(one_of("status", CHAT_STATUSES), name="llm_chats_status"),
    sa.CheckConstraint(one_of("fallback_reason", FALLBACK_REASONS), name="llm_chats_fallback_reason"),
    sa.CheckConstraint(one_of("error_code", CHAT_ERROR_CODES), name="llm_chats_error_code"),
    sa.CheckConstraint(
        "CASE WHEN erased_at IS NULL THEN (status = 'succeeded') = (answer IS NOT NULL)"
        " ELSE answer IS NULL AND finished_at IS NOT NULL END",
        name="llm_chats_answered",
    ),
    sa.CheckConstraint("(status IN ('queued', 'running')) = (finished_at IS NULL)", name="llm_chats_finished"),
    sa.Index(
        "llm_chats_idempotency",
        "subject",
        "idempotency_key",
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    ),
    sa.Index("llm_chats_of_subject", "subject", sa.text("id DESC")),
    sa.Index("llm_chats_queued", "created_at", postgresql_where=sa.text("status = 'queued'")),
    sa.Index(
        "llm_chats_waiting_for_upstream",
        "matcha_llm_id",
        "created_at",
        postgresql_where=sa.text("status = 'queued' AND waiting_for = 'upstream'"),
    ),
    sa.Index("llm_chats_running", "created_at", postgresql_where=sa.text("status = 'running'")),
    sa.Index(
        "llm_chats_given_up", "cancel_at", postgresql_where=sa.text("cancel_at IS NOT NULL AND finished_at IS NULL")
    ),
    # Who calls which model, for whoever decides about its end.
    sa.Index("llm_chats_callers", "model_key", "created_at", postgresql_include=["subject"]),
    sa.Index("llm_chats_finished", "finished_at", postgresql_where=sa.text("finished_at IS NOT NULL")),
    sa.Index(
        "llm_chats_turn",
        "class",
        "subject",
        "id",
        postgresql_include=["publish_at"],
        postgresql_where=sa.text("status = 'queued' AND dispatched_at IS NULL AND waiting_for IS NULL"),
    ),
    sa.Index(
        "llm_chats_dispatched",
        "subject",
        postgresql_where=sa.text("dispatched_at IS NOT NULL AND finished_at IS NULL"),
    ),
    sa.Index(
        "llm_chats_paused", "publish_at", postgresql_where=sa.text("status = 'queued' AND waiting_for IS NOT NULL")
    ),
    sa.Index("llm_chats_deadlines", "deadline_at", postgresql_where=sa.text("status = 'queued'")),
    # How many each caller has open.
    sa.Index("llm_chats_open", "subject", "class", postgresql_where=sa.text("finished_at IS NULL")),
)

# A caller's own limits, where they differ from the settings.
llm_callers = sa.Table(
    "llm_callers",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("max_open", sa.Integer),
    sa.Column("max_running", sa.Integer),
    sa.Column("per_minute", sa.Integer),
    sa.Column("weight", sa.Double),
    *(
        sa.CheckConstraint(f"{name} > 0", name=f"llm_callers_{name}")
        for name in ("max_open", "max_running", "per_minute")
    ),
    sa.CheckConstraint("weight > 0 AND weight < 'Infinity'", name="llm_callers_weight"),
)

# The living chat processes and the calls that each can make at once.
llm_chat_processes = sa.Table(
    "llm_chat_processes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("places", sa.Integer, nullable=False),
    _moment("started_at", nullable=False, default=True),
    _moment("lease_until", nullable=False),
    sa.CheckConstraint("places >= 0", name="llm_chat_processes_places"),
)

# Calls of the gateway, where a limit counts them: of the last minute, and those that have not ended.
llm_call_starts = sa.Table(
    "llm_call_starts",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("process_id", sa.Uuid, nullable=False),
    sa.Column("chat_id", sa.Uuid, nullable=False),
    _moment("started_at", nullable=False, default=True),
    _moment("ended_at"),
    sa.Index("llm_call_starts_started_at", "started_at"),
    sa.Index("llm_call_starts_open", "process_id", postgresql_where=sa.text("ended_at IS NULL")),
)

llm_usage_stats = sa.Table(
    "llm_usage_stats",
    metadata,
    sa.Column("model_key", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("request_count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    _moment("last_used", nullable=False),
    sa.Column("successes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("failures", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("cancelled", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("expired", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    _json("fallbacks"),
    # "reason model_key" -> chats that asked for this model and were answered by the row's.
    _json("requested"),
    sa.Column("latency_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("latency_buckets", ARRAY(sa.BigInteger), nullable=False),
    sa.Index("llm_usage_stats_day", "day"),
)

# What each caller used. There is no total of all days: lines are deleted when they are old, or their caller is erased.
llm_caller_usage = sa.Table(
    "llm_caller_usage",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("model_key", sa.Text, primary_key=True),
    sa.Column("request_count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    _moment("last_used", nullable=False),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        for name in ("successes", "failures", "cancelled", "expired", "latency_ms")
    ),
    sa.Index("llm_caller_usage_day", "day"),
)

# How long ended chats had waited for their first turn, of all time.
llm_chat_waits = sa.Table(
    "llm_chat_waits",
    metadata,
    sa.Column("class", sa.Text, primary_key=True),
    # Of the connection that counts, so that few wait for the same row.
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wait_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("buckets", ARRAY(sa.BigInteger), nullable=False),
    sa.CheckConstraint(one_of("class", CHAT_CLASSES), name="llm_chat_waits_class"),
)

# The days added up, by a trigger: what metrics show costs no more with every day.
llm_usage_totals = sa.Table(
    "llm_usage_totals",
    metadata,
    sa.Column("model_key", sa.Text, primary_key=True),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        for name in ("request_count", "successes", "failures", "cancelled", "expired")
    ),
    _json("fallbacks"),
    _json("requested"),
    sa.Column("latency_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("latency_buckets", ARRAY(sa.BigInteger), nullable=False, server_default=sa.text("'{}'")),
)

llm_notices = sa.Table(
    "llm_notices",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    # Of the run that a notice is about; an endpoint that was switched off belongs to none.
    sa.Column("run_id", sa.Uuid, sa.ForeignKey("llm_sync_runs.id", name="llm_notices_run_id_fkey")),
    sa.Column("data", JSONB, nullable=False),
    _moment("created_at", nullable=False, default=True),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("send_at", nullable=False, default=True),
    sa.Column("last_error", sa.Text),
    # Delivered, or given up: nothing more is done about it.
    _moment("ended_at"),
    sa.Column("delivered", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint(one_of("kind", NOTICE_KINDS), name="llm_notices_kind"),
    sa.CheckConstraint("kind = 'webhook_disabled' OR run_id IS NOT NULL", name="llm_notices_run"),
    sa.Index("llm_notices_waiting", "send_at", postgresql_where=sa.text("ended_at IS NULL")),
    sa.Index("llm_notices_ended", "ended_at", postgresql_where=sa.text("ended_at IS NOT NULL")),
)

llm_notice_receivers = sa.Table(
    "llm_notice_receivers",
    metadata,
    sa.Column("receiver", sa.Text, primary_key=True),
    # By a process that has its address.
    _moment("seen_at", nullable=False, default=True),
    sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")),
    # Nothing is sent to it before.
    _moment("send_at", nullable=False, default=True),
    sa.Column("last_error", sa.Text),
)

llm_notice_deliveries = sa.Table(
    "llm_notice_deliveries",
    metadata,
    sa.Column(
        "notice_id",
        sa.Uuid,
        sa.ForeignKey("llm_notices.id", ondelete="CASCADE", name="llm_notice_deliveries_notice_id_fkey"),
        nullable=False,
    ),
    sa.Column("receiver", sa.Text, nullable=False),
    # The notice's own.
    _moment("created_at", nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("send_at", nullable=False, default=True),
    sa.Column("last_error", sa.Text),
    _moment("ended_at"),
    sa.Column("delivered", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.PrimaryKeyConstraint("notice_id", "receiver", name="llm_notice_deliveries_pkey"),
    sa.Index("llm_notice_deliveries_waiting", "receiver", "created_at", postgresql_where=sa.text("ended_at IS NULL")),
)

llm_upstream_calls = sa.Table(
    "llm_upstream_calls",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    # Any sign of life, a refusal as well; a success is a usable answer.
    _moment("last_answer_at"),
    _moment("last_success_at"),
    _moment("last_failure_at"),
    sa.Column("last_failure_code", sa.Text),
    sa.Column("last_failure_status", sa.Integer),
    _moment("failing_since"),
    sa.Column("failures_in_a_row", sa.Integer, nullable=False, server_default=sa.text("0")),
    _json("failures"),
)

llm_upstream_circuits = sa.Table(
    "llm_upstream_circuits",
    metadata,
    sa.Column("process", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("one_caller", sa.Boolean, primary_key=True),
    _moment("opened_at", nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    _moment("seen_at", nullable=False, default=True),
)

llm_api_keys = sa.Table(
    "llm_api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.Text, nullable=False),
    # The secret before a rotation, for as long as it holds beside the new one.
    sa.Column("previous_sha256", sa.Text),
    _moment("previous_until"),
    _moment("created_at", nullable=False, default=True),
    sa.Column("created_by", sa.Text, nullable=False),
    _moment("expires_at"),
    _moment("last_used_at"),
    _moment("rotated_at"),
    _moment("revoked_at"),
    sa.Column("revoked_by", sa.Text),
    sa.CheckConstraint(one_of("role", ROLES), name="llm_api_keys_role"),
    sa.CheckConstraint("(previous_sha256 IS NULL) = (previous_until IS NULL)", name="llm_api_keys_previous"),
)

llm_webhook_endpoints = sa.Table(
    "llm_webhook_endpoints",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    # Whose responses make its events.
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", ARRAY(sa.Text), nullable=False),
    # It signs, so it is stored as it is; it is emptied when the endpoint is removed.
    sa.Column("secret", sa.Text, nullable=False),
    _moment("created_at", nullable=False, default=True),
    sa.Column("created_by", sa.Text, nullable=False),
    # Nothing is sent to it before.
    _moment("send_at", nullable=False, default=True),
    # Since when every attempt has failed.
    _moment("failing_since"),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.Text),
    _moment("last_delivered_at"),
    _moment("disabled_at"),
    sa.Column("disabled_reason", sa.Text),
    _moment("removed_at"),
    sa.Column("removed_by", sa.Text),
    _moment("rotated_at"),
    # It signs along until then; both are taken away when that is over.
    sa.Column("previous_secret", sa.Text),
    _moment("previous_until"),
    sa.CheckConstraint("(previous_secret IS NULL) = (previous_until IS NULL)", name="llm_webhook_endpoints_previous"),
    sa.CheckConstraint("cardinality(events) > 0", name="llm_webhook_endpoints_events"),
    sa.CheckConstraint(one_of("disabled_reason", DISABLED_REASONS), name="llm_webhook_endpoints_reason"),
    sa.CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="llm_webhook_endpoints_disabled"),
    sa.Index("llm_webhook_endpoints_of_subject", "subject", postgresql_where=sa.text("removed_at IS NULL")),
)

# Written by a trigger in the transaction that ends a chat.
llm_webhook_deliveries = sa.Table(
    "llm_webhook_deliveries",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column(
        "endpoint_id",
        sa.Uuid,
        sa.ForeignKey("llm_webhook_endpoints.id", ondelete="CASCADE", name="llm_webhook_deliveries_endpoint_id_fkey"),
        nullable=False,
    ),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    # The event's moment.
    _moment("created_at", nullable=False, default=True),
    sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'waiting'")),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    _moment("send_at", nullable=False, default=True),
    sa.Column(
        "give_up_at",
        TIMESTAMP(timezone=True),
        nullable=False,
        server_default=sa.text("now() + interval '72 hours'"),
    ),
    _moment("attempted_at"),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.Text),
    _moment("ended_at"),
    sa.UniqueConstraint("endpoint_id", "event_id", name="llm_webhook_deliveries_once"),
    sa.CheckConstraint(one_of("status", DELIVERY_STATUSES), name="llm_webhook_deliveries_status"),
    sa.CheckConstraint("(status = 'waiting') = (ended_at IS NULL)", name="llm_webhook_deliveries_ended"),
    sa.Index("llm_webhook_deliveries_waiting", "endpoint_id", "send_at", postgresql_where=sa.text("ended_at IS NULL")),
    sa.Index("llm_webhook_deliveries_newest", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("llm_webhook_deliveries_of_endpoint", "endpoint_id", sa.text("created_at DESC"), sa.text("id DESC")),
)
