"""The stand-in's default list: names that were seen in MatchaAI's list, with the ids that are known."""

_IMAGES = ["image/png", "image/jpeg", "image/webp"]
_FILES = [*_IMAGES, "application/pdf"]

# Ids 25, 28, 30, 35, 40, 68 and 71 were seen on the wire; the others are made up.
_LISTED: tuple[tuple[int, str, list[str] | None], ...] = (
    (28, "Claude 3.7 Sonnet", _FILES),
    (25, "Claude 3.5 Sonnet", _FILES),
    (30, "Claude Opus 4.1", _FILES),
    (31, "Claude Opus 4.1 - Reasoning", _FILES),
    (32, "Claude Opus 4 - Reasoning", _FILES),
    (33, "Claude Sonnet 4", _FILES),
    (71, "Claude Sonnet 4.5", _FILES),
    (34, "Gemini 2.5 Flash", _FILES),
    (35, "Gemini 2.5 Flash-Lite", _FILES),
    (36, "Gemini 2.0 Flash", _IMAGES),
    (37, "Gemini 2.5 Flash Image", _IMAGES),
    (38, "Gemini 2.5 Pro - Reasoning", _FILES),
    (72, "Gemini 3 Pro - Reasoning", _FILES),
    (67, "GPT-5", _IMAGES),
    (68, "GPT-5 Mini", _IMAGES),
    (69, "GPT-5 Chat", _IMAGES),
    (40, "GPT-4o", _IMAGES),
    (41, "GPT-4o Mini", _IMAGES),
    (42, "GPT-4o Web Search", []),
    (43, "OpenAI o3 - Reasoning", _IMAGES),
    (44, "OpenAI o3-mini - Reasoning", []),
    (50, "DeepSeek R1 528 - Reasoning", []),
    (51, "Llama 3.2 Vision 90B", _IMAGES),
    (52, "Cohere Command A", []),
    (60, "Ultimate 8-in-1 LLM Router", None),
    (61, "Acme Rapid LLM (Internal)", None),
    (62, "Acme Precise LLM (Internal)", None),
)


def default_models() -> list[object]:
    """The 27 entries as the list call gives them; the first is what the mission answers with by itself."""
    return [{"id": id_, "name": name, "allowed_file_input_mime_types": types} for id_, name, types in _LISTED]
