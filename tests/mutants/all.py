"""All mutants. A mechanism that nothing must work without gets a row in the module of its room."""

from __future__ import annotations

from tests.mutants import chats, dispatch, edges, refreshes, webhooks

MUTANTS = (*chats.MUTANTS, *dispatch.MUTANTS, *refreshes.MUTANTS, *edges.MUTANTS, *webhooks.MUTANTS)
