"""Reading the gateway's ways of saying no. Pure: values in, a `GatewayError` out.

Order of rules (the source is the wire notes of MatchaAI's users, nobody could check them against a manual):
1. Statuses that speak for themselves, whatever the body: 401 and 403 (key), 408, 413, 429. An HTML page with 401 or
   403 is a login page or a firewall's: trying again helps nobody, so it counts as the key's refusal.
2. An HTML page with any other status, 200 and 404 included: something in front of the gateway answered. Retryable.
3. 5xx: the gateway is down. Retryable. 4. 3xx: never followed, for the key would go along.
5. 404 of a completion, or other 4xx and `status: error` whose words say so: unknown model, prompt too long.
6. Every other 4xx and `status: error`: rejected for good.
The upstream's words are matched against fixed patterns and never repeated: they may quote the prompt.
"""

import re

from shared.gateway.errors import GatewayError

_READ_CHARS = 2000  # of the upstream's words; longer ones quote the prompt more likely than they explain

_UNKNOWN_MODEL = re.compile(
    r"\b(?:unknown|invalid|no such|unsupported|unrecogni[sz]ed|nonexistent) (?:llm|model|responsellm)(?: id)?\b"
    r"|\b(?:llm|model|responsellm)(?: with)?(?: id)?[ :=#]{0,3}"
    r"(?:[\"'`(][^\"'`()]{1,200}[\"'`)]|[\w.:-]*\d[\w.:-]*)?,? ?"
    r"(?:is |was |does |could )?(?:not found|unknown|not exist|not be found|cannot be found|not available|invalid)\b"
)
_TOO_LONG = re.compile(
    r"\b(?:prompt|input|request|message|question|text|content)(?: text)? (?:is |was |are )?too (?:long|large|big)\b"
    r"|\btoo many (?:input |prompt )?tokens\b(?! per)"
    r"|\bmaximum context (?:length|window|size)\b"
    r"|\bcontext (?:length|window|size)(?: limit)? (?:is |was |has been )?exceeded\b"
    r"|\b(?:exceed\w*|longer than|larger than)\b[^.;]{0,60}"
    r"\b(?:context (?:length|window|size)|token limit"
    r"|max(?:imum)? (?:number of |allowed )?(?:input |prompt |context )?(?:tokens|length))\b"
    r"|\b(?:prompt|input)(?: text)?(?: length| size)? (?:exceeds|is longer than)\b"
)
# What a person should check when the upstream's words speak of it. Fixed sentences, so nothing of the words leaks.
_HINTS = (
    (re.compile(r"\bmission"), "It speaks of the mission: check MATCHAAI_MISSION_ID."),
    (re.compile(r"\b(?:propert|field|parameter|schema)"), "It speaks of the fields: check MATCHAAI_MODEL_FIELD."),
    (re.compile(r"\b(?:session|expired|api key|credential)"), "It speaks of the key: check MATCHAAI_API_KEY."),
)


def is_html(content_type: str, body: bytes) -> bool:
    """Whether this is a page instead of JSON: by its first byte, then by its content type."""
    first = body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return first == b"<" or ("html" in content_type.lower() and first not in (b"{", b"["))


def refusal(
    status: int,
    content_type: str,
    body: bytes,
    words: str,
    *,
    where: str,
    completing: bool,
    retry_after_seconds: float | None,
) -> GatewayError | None:
    """The failure that status and body tell of, or None when the answer is worth reading.

    `words` is what the body gives as its reason, if it is JSON or plain text; `where` is like `POST host/path`.
    """
    html = is_html(content_type, body)
    prefix = f"{where} answered HTTP {status}{' with an HTML page' if html else ''}"
    if status in (401, 403):
        page = ", or look at what the page is: a login page or a firewall answers like this" if html else ""
        return GatewayError(
            "unauthorised", f"{prefix}: the key was refused. Check MATCHAAI_API_KEY{page}.", True, status
        )
    if status == 408:
        return GatewayError(
            "timeout", f"{prefix}: it gave up waiting for the request. Try again.", False, status, retry_after_seconds
        )
    if status == 413 and completing:
        return _too_long(prefix, status)
    if status == 429:
        detail = f"{prefix}: too many requests. Try again later, or ask for a higher limit."
        return GatewayError("rate_limited", detail, False, status, retry_after_seconds)
    if html:
        detail = f"{prefix} instead of JSON: a login or gateway page. Check MATCHAAI_BASE_URL, or wait for its return."
        return GatewayError("upstream_not_json", detail, False, status, retry_after_seconds, True)
    if status >= 500:
        detail = f"{prefix}: the gateway or the model behind it is down or overloaded. Try again later."
        return GatewayError("upstream_unavailable", detail, False, status, retry_after_seconds, True)
    if 300 <= status < 400:
        detail = f"{prefix}: a redirect is not followed, for the key would go along. Check MATCHAAI_BASE_URL."
        return GatewayError("upstream_rejected", detail, True, status)
    if status < 200 or status >= 400:
        return rejection(prefix, words, status, completing)
    return None


def rejection(prefix: str, words: str, status: int, completing: bool) -> GatewayError:
    """A no for good, named as closely as its words allow. `prefix` is like `POST host/path answered HTTP 400`."""
    plain = " ".join(words[:_READ_CHARS].lower().replace("_", " ").split())
    if completing and _TOO_LONG.search(plain):
        return _too_long(prefix, status)
    if completing and (status == 404 or _UNKNOWN_MODEL.search(plain)):
        detail = f"{prefix}: the model is not known there. Refresh the models; if all fail, check MATCHAAI_BASE_URL."
        return GatewayError("unknown_model", detail, True, status)
    if status == 404:
        return GatewayError("upstream_rejected", f"{prefix}: no such path. Check MATCHAAI_BASE_URL.", True, status)
    hint = next((sentence for pattern, sentence in _HINTS if pattern.search(plain)), "")
    detail = f"{prefix}: the request was rejected; its reason is not repeated, for it may quote the prompt. {hint}"
    return GatewayError("upstream_rejected", detail.rstrip(), True, status)


def _too_long(prefix: str, status: int) -> GatewayError:
    return GatewayError(
        "prompt_too_long", f"{prefix}: the prompt is too long for this model. Shorten it.", True, status
    )
