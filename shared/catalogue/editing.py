"""Operators' edits carried out: one transaction each, in the ledger with its caller."""

from __future__ import annotations

from typing import Any

import structlog

from shared.catalogue.edits import ModelEdit, edit_model
from shared.catalogue.facts.mapping import Mapping
from shared.catalogue.inactive import why_inactive
from shared.catalogue.sync import store
from shared.catalogue.sync.plan import Policy
from shared.catalogue.sync.rows import UNORDERED
from shared.db import Caller, Database

log = structlog.get_logger(__name__)


class UnknownModel(LookupError):
    """No row has this key."""


class Editor:
    """Edits model rows. A sync and an edit wait for each other, so that neither loses what the other wrote."""

    def __init__(self, *, database: Database, mapping: Mapping, policy: Policy) -> None:
        self._database = database
        self._mapping = mapping
        self._policy = policy

    def edit(self, key: str, edit: ModelEdit, *, caller: Caller) -> dict[str, Any]:
        """Apply an edit to the model with this key; returns the row as the API shows it, with why it is inactive.

        Raises UnknownModel and EditRefused; then nothing was written.
        """
        with self._database.transaction(caller) as connection:
            store.lock(connection)
            rows = store.read_rows(connection)
            row = next((row for row in rows if row.model_key == key), None)
            if row is None:
                raise UnknownModel(key)
            mapped = self._mapping.model(row.upstream_name)
            order = mapped.order if mapped is not None else UNORDERED
            edited = edit_model(rows, row.matcha_llm_id, edit, policy=self._policy, order=order)
            store.write_rows(connection, edited.written, ())
            store.append_changes(connection, edited.changes, run_id=None, actor=caller.subject)
            body = store.shown_row(connection, row.matcha_llm_id)
            body["why"] = why_inactive(connection, row.matcha_llm_id)
        log.info(
            "llm_refresh.edited",
            message=f"{caller.subject} edited {key}",
            model_key=body["model_key"],
            fields=sorted(edit.model_fields_set),
        )
        return body
