"""Upkeep: what every worker does beside its tasks, so that nothing depends on Redis remembering it."""
