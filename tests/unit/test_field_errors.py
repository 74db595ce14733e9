"""What is wrong with a field, in words of who wrote it."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.field_errors import first_fault


class Inner(BaseModel):
    deep: bool = False


class Sample(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    number: Annotated[float, Field(gt=0, lt=10)] = 1
    whole: Annotated[int, Field(ge=1, le=5)] = 1
    text: Annotated[str, Field(max_length=3)] = ""
    inner: Inner = Inner()
    needed: int


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"number": 0}, "number: must be above 0"),
        ({"number": 10}, "number: must be below 10"),
        ({"number": "secret"}, "number: must be a number"),
        ({"number": "nan"}, "number: must be a finite number"),
        ({"whole": 0}, "whole: must be 1 or more"),
        ({"whole": 6}, "whole: must be 5 or less"),
        ({"whole": "secret"}, "whole: must be a whole number"),
        ({"text": "secret"}, "text: may hold 3 characters at most"),
        ({"inner": {"deep": "secret"}}, "inner.deep: must be true or false"),
        ({"inner": []}, "inner: must be an object"),
        ({"secret": 1}, "secret: no such field"),
        ({"needed": None}, "needed: must be a whole number"),
    ],
)
def test_a_fault_names_the_field_and_what_it_takes_and_never_the_value(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Sample.model_validate({"needed": 1} | given)
    assert first_fault(error.value) == words


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValidationError) as error:
        Sample.model_validate({})
    assert first_fault(error.value) == "needed: is missing"
