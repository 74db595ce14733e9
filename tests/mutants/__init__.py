"""Takes the mechanisms away one at a time, in a copy, and shows which test notices: `python -m tests.mutants`."""
