"""How the stand-in may be told to misbehave."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Shape = Literal[
    "output_text", "several", "message", "choices", "parts", "response", "text", "output", "error", "blank", "none"
]


class Behaviour(BaseModel):
    """How one route answers. Everything may be combined; with nothing set it answers as MatchaAI does when well."""

    model_config = ConfigDict(extra="forbid")

    times: int | None = Field(None, ge=1, description="only this many calls misbehave, later ones are answered well")
    delay: float | None = Field(None, ge=0, description="seconds before the answer; None: what the server was given")
    silent: bool = Field(False, description="accept and never answer")
    reset: Literal["before_answer", "in_answer"] | None = Field(None, description="cut the connection (TCP reset)")
    drip: Literal["headers", "body"] | None = Field(None, description="send it a byte at a time")
    drip_seconds: float = Field(1.0, gt=0, description="between two bytes that drip")
    status: int | None = Field(None, ge=200, le=599, description="HTTP status, with an error in JSON from 300 on")
    retry_after: str | None = Field(None, description="the Retry-After header: seconds or an HTTP date")
    redirect: str | None = Field(None, description="the Location header, with status 302 unless another is given")
    headers: dict[str, str] = Field(default_factory=dict, description="further headers")
    html: bool = Field(False, description="a login page in HTML instead of JSON")
    content_type: str | None = Field(None, description="instead of the fitting one")
    body: str | None = Field(None, description="this text as the whole body")
    truncated: bool = Field(False, description="only the first half of the JSON, as if that were all")
    no_length: bool = Field(False, description="no Content-Length: the answer ends where the connection does")
    gzip: bool = Field(False, description="compressed, whether asked for or not")
    huge: int | None = Field(None, ge=1, description="a body of so many bytes")
    empty: bool = Field(False, description="an empty list")
    wrapped: str | None = Field(None, description="the list under this name in an object")
    shape: Shape = Field("output_text", description="where a completion has its answer")
    error: str | None = Field(None, description="the words of an error")
    padded: int | None = Field(None, ge=1, description="an answer of so many characters, filled up with `padding`")
    padding: str = Field('"', min_length=1, max_length=1, description="a quotation mark takes two bytes in JSON")


class Behaviours(BaseModel):
    """How each route answers now: a prompt's own behaviour goes before a model's, and that before all completions'."""

    model_config = ConfigDict(extra="forbid")

    llms: Behaviour = Field(default_factory=Behaviour)
    completions: Behaviour = Field(default_factory=Behaviour)
    by_llm_id: dict[int, Behaviour] = Field(default_factory=dict)
    by_words: dict[str, Behaviour] = Field(default_factory=dict, description="for prompts that hold these words")
    ignores: Literal["llm_id", "options.responseLLM"] | None = Field(
        None, description="a field that it does not understand: then the mission's own model answers"
    )

    def for_list(self) -> Behaviour:
        """How the list call that has just come is answered."""
        return _spend(self.llms) or Behaviour()

    def for_completion(self, llm_id: int, prompt: str) -> Behaviour:
        """How the completion that has just come is answered."""
        by_words = next((behaviour for words, behaviour in self.by_words.items() if words in prompt), None)
        own = by_words or self.by_llm_id.get(llm_id)
        return (own and _spend(own)) or _spend(self.completions) or Behaviour()


def _spend(behaviour: Behaviour) -> Behaviour | None:
    if behaviour.times is None:
        return behaviour
    if behaviour.times == 0:
        return None
    behaviour.times -= 1
    return behaviour


def completion_answer(shape: Shape, text: str, error: str | None) -> dict[str, object]:
    """A completion's JSON in one of the shapes that MatchaAI's clients met."""

    def message(*texts: str) -> dict[str, object]:
        return {"content": [{"type": "output_text", "text": each} for each in texts]}

    half, quarter = len(text) // 2, len(text) // 4
    shapes: dict[Shape, dict[str, object]] = {
        "output_text": {"output": [message(text)]},
        "several": {"output": [message(text[:quarter], text[quarter:half]), message(text[half:])]},
        "message": {"output": [{"message": {"role": "assistant", "content": text}}]},
        "choices": {"choices": [{"message": {"role": "assistant", "content": text}}]},
        "parts": {"choices": [{"message": {"content": [{"type": "text", "text": text}]}}]},
        "response": {"response": text},
        "text": {"text": text},
        "output": {"output": text},
        "error": {"status": "error", "error": error or "The stand-in was told to fail."},
        "blank": {"output": [message("  ")]},
        "none": {},
    }
    return {"status": "success", **shapes[shape]}
