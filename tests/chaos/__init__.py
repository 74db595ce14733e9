"""The chaos suite: `make chaos SECONDS=120 SEED=1`. Callers ask while faults happen; then the promises are checked."""
