"""What comes back: each shape of an answer that was met is read, and nothing else is taken for one."""

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gateway.errors import GatewayError
from shared.gateway.wire import parse_retry_after, read_completion, read_list

JSON = "application/json"
MARKER = "the owner's secret"


def completion(value: object, status: int = 200) -> str:
    return read_completion(status, JSON, json.dumps(value).encode())


def refused(value: object, status: int = 200) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        completion(value, status)
    return caught.value


def output_text(*texts: str) -> dict[str, object]:
    return {"content": [{"type": "output_text", "text": text} for text in texts]}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success", "output": [output_text("Because.")]},
        {"status": "success", "output": [output_text("Be", "ca"), output_text("use.")]},
        {"output": [{"content": [{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": "Because."}]}]},
        {"output": [{"type": "reasoning", "content": [{"type": "text", "text": "Hm."}]}, output_text("Because.")]},
        {"output": [{"message": {"role": "assistant", "content": "Because."}}]},
        {"choices": [{"message": {"content": "Because."}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "Beca"}, {"type": "text", "text": "use."}]}}]},
        {"output": [{"content": "Because."}]},
        {"output": [{"type": "output_text", "text": "Because."}]},
        {"response": "Because."},
        {"text": "Because."},
        {"output": "Because."},
        {"status": "success", "output": [], "response": "Because.", "error": None},
        {"status": "SUCCESS", "output": "Because.", "error": "a warning"},
    ],
)
def test_the_text_is_found_in_every_known_place(answer: object) -> None:
    assert completion(answer) == "Because."


def test_an_answer_may_begin_with_a_byte_order_mark_and_white_space() -> None:
    assert read_completion(200, JSON, b'\xef\xbb\xbf \n{"text": "Because."}') == "Because."


def test_characters_that_no_database_stores_are_replaced() -> None:
    assert read_completion(200, JSON, rb'{"text": "a\u0000b\ud800c"}') == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success"},
        {"status": "success", "output": [output_text("  \n")]},
        {"output": [{"content": [{"type": "reasoning", "text": "Hm."}]}]},
        {"output": [{"message": {"content": None}}], "choices": [], "response": 7, "text": None},
        ["Because."],
        "Because.",
        7,
        None,
    ],
)
def test_an_answer_without_text_is_misshapen_for_good(answer: object) -> None:
    error = refused(answer)

    assert (error.code, error.permanent, error.trips_circuit) == ("upstream_shape", True, False)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "error", "error": "Something is off."},
        {"status": "error", "output": [output_text("Because.")]},
        {"status": "failed"},
        {"status": "incomplete", "error": {"message": "Something is off."}},
        {"error": "Something is off."},
        {"status": 500, "error": "Something is off."},
    ],
)
def test_a_failure_inside_a_good_status_is_a_rejection_for_good(answer: object) -> None:
    error = refused(answer)

    assert (error.code, error.permanent, error.trips_circuit, error.http_status) == (
        "upstream_rejected",
        True,
        False,
        200,
    )


@pytest.mark.parametrize(
    "words",
    [
        "Unknown llm_id.",
        "Invalid model id: 71",
        "model not found",
        "The model `gpt-9` does not exist",
        "LLM with id 71 was not found",
        "llm_id 71 is invalid",
        {"code": "model_not_found", "message": "See above."},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 422])
def test_words_about_an_unknown_model_are_understood(words: object, status: int) -> None:
    error = refused({"status": "error", "error": words}, status)

    assert (error.code, error.permanent) == ("unknown_model", True)


@pytest.mark.parametrize(
    "words",
    [
        "Prompt is too long",
        "input too large",
        "This model's maximum context length is 8192 tokens",
        {"code": "context_length_exceeded"},
        "The input exceeds the maximum number of tokens",
        "too many tokens",
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_words_about_a_long_prompt_are_understood(words: object, status: int) -> None:
    assert refused({"status": "error", "error": words}, status).code == "prompt_too_long"


@pytest.mark.parametrize(
    "words",
    [
        "The model input is invalid",
        "Model parameters: temperature not found",
        "max_tokens must be positive",
        "too many tokens per minute",
        "Property mission_id must be an integer.",
        "The request took too long",
    ],
)
def test_other_words_are_not_mistaken_for_a_cause(words: str) -> None:
    assert refused({"error": words}, 400).code == "upstream_rejected"


def test_a_rejection_says_what_to_check_when_the_words_point_at_it() -> None:
    assert "MATCHAAI_MISSION_ID" in refused({"error": "Property mission_id must be an integer."}, 400).detail


@pytest.mark.parametrize(
    ("status", "code", "permanent", "trips"),
    [
        (302, "upstream_rejected", True, False),
        (400, "upstream_rejected", True, False),
        (401, "unauthorised", True, False),
        (403, "unauthorised", True, False),
        (404, "unknown_model", True, False),
        (408, "timeout", False, False),
        (409, "upstream_rejected", True, False),
        (413, "prompt_too_long", True, False),
        (429, "rate_limited", False, False),
        (500, "upstream_unavailable", False, True),
        (504, "upstream_unavailable", False, True),
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"error": "no"}', b"no"])
def test_each_status_of_a_completion_has_its_cause(
    status: int, code: str, permanent: bool, trips: bool, body: bytes
) -> None:
    with pytest.raises(GatewayError) as caught:
        read_completion(status, JSON, body, where="POST host/completions")

    error = caught.value
    assert (error.code, error.permanent, error.trips_circuit, error.http_status) == (code, permanent, trips, status)
    assert error.detail.startswith(f"POST host/completions answered HTTP {status}")


@pytest.mark.parametrize(("status", "code"), [(404, "upstream_rejected"), (413, "upstream_rejected")])
def test_a_list_call_knows_no_model_and_no_prompt(status: int, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_list(status, JSON, b'{"error": "Unknown model"}')

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", b"Please sign in."),
        ("text/html", b""),
        (JSON, b"  \n<!DOCTYPE html><html></html>"),
        ("", b"\xef\xbb\xbf<html>"),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 404, 502, 504])
def test_an_html_page_is_told_from_json_and_tried_again(status: int, content_type: str, body: bytes) -> None:
    for read in (read_list, read_completion):
        with pytest.raises(GatewayError) as caught:
            read(status, content_type, body)

        error = caught.value
        assert (error.code, error.permanent, error.trips_circuit) == ("upstream_not_json", False, True)
        assert "HTML page" in error.detail


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorised"), (403, "unauthorised"), (429, "rate_limited")])
def test_a_status_that_speaks_for_itself_does_so_on_an_html_page_too(status: int, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_list(status, "text/html", b"<html>", retry_after_seconds=3.0)

    assert (caught.value.code, caught.value.trips_circuit) == (code, False)


def test_a_list_is_its_entries_as_they_came() -> None:
    entries = read_list(200, JSON, b'[{"id": 28, "name": "A"}, 7, null, {"id": true}, ["x"]]')

    assert entries == ({"id": 28, "name": "A"}, 7, None, {"id": True}, ["x"])


def test_an_empty_list_is_an_answer() -> None:
    assert read_list(200, JSON, b"[]") == ()


@pytest.mark.parametrize("name", ["data", "llms", "models"])
def test_a_list_wrapped_in_an_object_is_refused_with_the_shape_named(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_list(200, JSON, json.dumps({name: [{"id": 1, "name": "A"}]}).encode())

    assert caught.value.code == "upstream_shape"
    assert f"an object with a list under '{name}'" in caught.value.detail


def test_a_list_call_that_failed_inside_a_good_status_is_a_rejection() -> None:
    with pytest.raises(GatewayError) as caught:
        read_list(200, JSON, b'{"status": "error", "error": "no"}')

    assert caught.value.code == "upstream_rejected"


@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        (b"[1, NaN]", "not JSON"),
        (b"[1e999]", "not JSON"),
        (b"[1, -Infinity]", "not JSON"),
        (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'["\xff"]', "not UTF-8"),
        (b"upstream connect error", "not JSON"),
    ],
)
def test_a_body_that_is_no_json_is_named_for_what_it_is(body: bytes, expected_text: str) -> None:
    for read in (read_list, read_completion):
        with pytest.raises(GatewayError) as caught:
            read(200, JSON, body)

        error = caught.value
        assert (error.code, error.permanent, error.trips_circuit) == ("upstream_not_json", True, False)
        assert expected_text in error.detail
        assert error.__context__ is None


@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        (b"", "an empty body"),
        (b" \r\n", "an empty body"),
        (b'[{"id": 1}, {"id"', "cut short"),
        (b'[{"id": 1}', "cut short"),
        (b'{"output": "a \\"quoted\\" wo', "cut short"),
        ('{"output": "né'.encode()[:-1], "cut short"),
    ],
)
def test_half_a_body_is_a_connection_that_broke_off(body: bytes, expected_text: str) -> None:
    for read in (read_list, read_completion):
        with pytest.raises(GatewayError) as caught:
            read(200, JSON, body, retry_after_seconds=3.0)

        error = caught.value
        assert (error.code, error.permanent, error.trips_circuit) == ("upstream_unavailable", False, True)
        assert expected_text in error.detail
        assert error.retry_after_seconds == 3.0
        assert error.__context__ is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["status", "output", "choices", "message", "content", "text", "type", "error", "response"])
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
containers = st.lists(json_values, max_size=4) | st.dictionaries(st.text(max_size=5), json_values, max_size=4)


@given(value=containers, place=st.floats(0, 1, exclude_max=True), ascii_only=st.booleans())
def test_every_beginning_of_an_answer_is_told_as_one(value: object, place: float, ascii_only: bool) -> None:
    whole = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    cut = whole[: int(len(whole) * place)]
    with pytest.raises(GatewayError) as caught:
        read_list(200, JSON, cut)
    assert caught.value.code == "upstream_unavailable"
    with contextlib.suppress(GatewayError):
        read_list(200, JSON, whole)
        return
    with pytest.raises(GatewayError) as caught:
        read_list(200, JSON, whole)
    assert "cut short" not in caught.value.detail


bodies = st.binary() | json_values.map(lambda value: json.dumps(value).encode())
content_types = st.sampled_from([JSON, "text/html", "text/plain", ""])


@given(status=st.integers(100, 599), content_type=content_types, body=bodies)
def test_whatever_comes_is_an_answer_or_a_gateway_error(status: int, content_type: str, body: bytes) -> None:
    for read in (read_list, read_completion):
        try:
            answer = read(status, content_type, body)
        except GatewayError as error:
            assert error.detail
        else:
            assert 200 <= status < 300
            assert isinstance(answer, tuple) or answer.strip()


@given(status=st.integers(100, 599), where=st.sampled_from(["error", "message", "output", "detail", MARKER]))
def test_no_error_repeats_what_the_upstream_wrote(status: int, where: str) -> None:
    for body in (
        json.dumps({where: MARKER}).encode(),
        json.dumps({"status": "error", where: [MARKER]}).encode(),
        f"<html>{MARKER}</html>".encode(),
        MARKER.encode(),
    ):
        for read in (read_list, read_completion):
            try:
                read(status, JSON, body)
            except GatewayError as error:
                assert MARKER not in str(error)
                assert MARKER not in repr(error)


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("-3", None),
        ("nan", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_header_is_too_strange(value: str) -> None:
    seconds = parse_retry_after(value, NOW)

    assert seconds is None or seconds >= 0
