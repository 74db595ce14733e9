"""From an upstream list to the tables: parse, plan, guard, apply, record the run."""
