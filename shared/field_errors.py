"""What is wrong with a value, in the words of who wrote it; pydantic's speak of Python."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_WORDS: Final = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "datetime_from_date_parsing": "must be a time (ISO 8601)",
    "datetime_parsing": "must be a time (ISO 8601)",
    "extra_forbidden": "no such field",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_type": "must be a text",
    "string_too_short": "must hold {min_length} or more characters",
    "string_too_long": "may hold {max_length} characters at most",
    "too_short": "must hold {min_length} or more",
    "too_long": "may hold {max_length} at most",
    "tuple_type": "must be a list",
    "uuid_parsing": "must be an id (a UUID)",
}
"""By pydantic's names for what can be wrong."""


def words_of(fault: ErrorDetails) -> str:
    """What is wrong with a field."""
    template = _WORDS.get(fault["type"])
    if template is None:
        return fault["msg"].removeprefix("Value error, ")
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in fault.get("ctx", {}).items()}
    return template.format(**limits)


def first_fault(error: ValidationError) -> str:
    """The first field that is wrong, as `capabilities.max_output: must be above 0`; never its value."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {words_of(fault)}" if place else words_of(fault)
