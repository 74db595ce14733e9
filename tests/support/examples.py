"""How many examples Hypothesis makes: few in each run, many more with `--hypothesis-profile=thorough`."""

from hypothesis import settings

THOROUGH = 10


def examples(number: int) -> int:
    """For tests that say how many: so many, or with the profile `thorough` THOROUGH times as many."""
    return number * (THOROUGH if settings.get_current_profile_name() == "thorough" else 1)
