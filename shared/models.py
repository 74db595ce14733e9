"""The tables, as SQLAlchemy sees them. What migrations make is compared with this by a test."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

metadata = sa.MetaData()

RUN_STATUSES = ("queued", "running", "succeeded", "partial", "held", "failed", "abandoned")
RUN_TRIGGERS = ("schedule", "api", "cli", "task", "startup", "catch-up")
CHANGE_KINDS = (
    "added",
    "renamed",
    "repointed",
    "moved",
    "capability",
    "deactivated",
    "reactivated",
    "default",
    "operator",
)


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
    sa.UniqueConstraint("scheduled_for", name="llm_sync_runs_scheduled_for_key"),
    sa.CheckConstraint(one_of("status", RUN_STATUSES), name="llm_sync_runs_status"),
    sa.CheckConstraint(one_of("trigger", RUN_TRIGGERS), name="llm_sync_runs_trigger"),
    sa.Index("llm_sync_runs_one_running", sa.text("(status = 'running')"), unique=True,
             postgresql_where=sa.text("status = 'running'")),
    # One queued run for the same options: later requests join it.
    sa.Index("llm_sync_runs_one_queued", "options", unique=True,
             postgresql_where=sa.text("status = 'queued' AND scheduled_for IS NULL")),
    sa.Index("llm_sync_runs_newest", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("llm_sync_runs_task_id", "task_id"),
)  # fmt: skip

llm_model_changes = sa.Table(
    "llm_model_changes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey("llm_sync_runs.id", name="llm_model_changes_run_id_fkey")),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("matcha_llm_id", sa.Integer, nullable=False),
    sa.Column("model_key", sa.Text, nullable=False),
    _json("before", None),
    _json("after", None),
    sa.Column("actor", sa.Text, nullable=False),
    _moment("at", nullable=False, default=True),
    sa.CheckConstraint(one_of("kind", CHANGE_KINDS), name="llm_model_changes_kind"),
    sa.Index("llm_model_changes_run_id", "run_id"),
    # Answers for retired keys: which change took a key away.
    sa.Index("llm_model_changes_key_before", sa.text("(before ->> 'model_key')"), sa.text("id DESC"),
             postgresql_where=sa.text("before ? 'model_key'")),
)  # fmt: skip
