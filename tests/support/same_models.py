"""When two names mean one model: the tests compare every pair, and a section of docs/catalogue.md is made of them."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[str, str]


@dataclass(frozen=True)
class SameModel:
    """A rule of what says nothing about which model a name means."""

    what: str
    says: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class AnotherModel:
    """A rule of what makes another model."""

    what: str
    pairs: tuple[Pair, ...]


def _all_of(name: str, *others: str) -> tuple[Pair, ...]:
    return tuple((name, other) for other in others)


SAME_MODEL = (
    SameModel(
        "order, case, punctuation",
        "Only words count, not their order, case or punctuation.",
        (
            ("Claude 3.7 Sonnet", "claude sonnet 3.7"),
            ("Claude 3.7 Sonnet", "claude-3-7-sonnet"),
            ("GPT-4", "GPT 4"),
            ("Gemini 2.5 Flash-Lite", "Gemini 2.5 Flash Lite"),
            ("Llama-3-8B", "Llama 3 8B"),
            ("GPT-4o (2024-08-06)", "gpt-4o 20240806"),
            ("Claude Opus 4 - Reasoning", "Claude Opus 4 (Reasoning)"),
            ("Acme Rapid LLM (Internal)", "internal: acme rapid LLM"),
            ("Claude 3.5 Sonnet (2024-06-20)", "claude-3-5-sonnet@20240620"),
        ),
    ),
    SameModel(
        "words run together",
        "Words of families, tiers and uses are recognised without a space between them, and after a number.",
        (
            ("GPT-4o", "gpt4o"),
            ("GPT-4o Mini", "gpt4omini"),
            ("Gemini 2.5 Flash-Lite", "Gemini 2.5 FlashLite"),
            ("Claude 3.7 Sonnet", "Claude3.7Sonnet"),
            ("DeepSeek V3", "DeepSeekV3"),
            ("DeepSeek R2", "DeepSeekR2"),
            ("Command R", "CommandR"),
            ("OpenAI GPT-4.1", "Open AI GPT-4.1"),
        ),
    ),
    SameModel(
        "versions",
        "A v before it, a zero after its last point, a p for the point, a host's own number of a first release.",
        (
            ("Claude 2.1", "claude-v2.1"),
            ("Gemini 2.0 Flash", "Gemini 2 Flash"),
            ("DeepSeek V3.1", "deepseek-v3p1"),
            ("gpt-oss-20b", "openai.gpt-oss-20b-1:0"),
            ("Nova Pro", "amazon.nova-pro-v1:0"),
        ),
    ),
    SameModel(
        "plus for +",
        "A + at the end of a word means the word plus.",
        _all_of(
            "Command R+",
            *("Command R Plus", "command-r-plus", "Command R +", "cohere.command-r-plus-v1:0", "CommandR+"),
        ),
    ),
    SameModel(
        "forms of characters",
        "Full width, ligatures, small and raised digits, digits of other scripts, dashes, spaces, what is drawn as"
        " nothing, accents on Latin letters, trade marks.",
        (
            *_all_of(
                "GPT-4o",
                "ＧＰＴ－４ｏ",
                "GPT\u20114o",
                "GPT\u22124o",
                "GPT\u00a04o",
                "GPT\u200b-4o",
                "𝗚𝗣𝗧-𝟰𝗼",
                "GPT-٤o",
            ),
            ("Gemini 2.5 Flash", "Gemini 2.5 ﬂash"),
            ("Command R+", "Command R⁺"),
            ("Tülu 3 405B", "Tulu 3 405B"),
            ("Claude 4", "Claude™ 4"),
            ("Acme²", "Acme2"),
        ),
    ),
    SameModel(
        "pictures",
        "A picture beside words is decoration. A picture alone is the model's name.",
        (*_all_of("Fast", "🚀 Fast", "🔥 Fast", "Fast 🆕"), ("GPT-4o", "🚀 GPT-4o")),
    ),
    SameModel(
        "provider beside the name",
        "The provider's name is removed if the rest still identifies that provider.",
        (
            *_all_of(
                "GPT-4o", "OpenAI GPT-4o", "OpenAI: GPT-4o", "openai/gpt-4o", "[OpenAI] GPT-4o", "GPT-4o (OpenAI)"
            ),
            *_all_of(
                "GPT-4o", "OpenAI - GPT-4o", "OpenAI | GPT-4o", "GPT-4o by OpenAI", "openai-gpt-4o", "openai.gpt-4o"
            ),
            *_all_of("Claude 3.5 Sonnet", "Anthropic's Claude 3.5 Sonnet", "Anthropic’s Claude 3.5 Sonnet"),
            ("Kimi K2", "月之暗面 Kimi K2"),
            *_all_of("Claude Opus 4.1", "anthropic--claude-opus-4.1", "Anthropic: Claude Opus 4.1"),
            *_all_of("Qwen3 235B A22B", "Qwen: Qwen3 235B A22B", "Qwen/Qwen3-235B-A22B", "Alibaba Qwen3 235B A22B"),
            *_all_of("DeepSeek V3", "DeepSeek: DeepSeek V3", "deepseek-ai/DeepSeek-V3", "deepseek/deepseek-v3"),
            *_all_of("Grok 4", "xAI: Grok 4", "x-ai/grok-4", "xai/grok-4"),
            *_all_of("GLM 4.6", "Z.AI: GLM 4.6", "zai-org/GLM-4.6", "Zhipu AI GLM-4.6", "智谱 GLM-4.6"),
            *_all_of("Mistral Large", "Mistral: Mistral Large", "mistralai/mistral-large"),
            *_all_of("Llama 3.1 70B Instruct", "meta-llama/Llama-3.1-70B-Instruct", "Meta Llama 3.1 70B Instruct"),
            ("Kimi K2", "moonshotai/Kimi-K2"),
            ("Nova Pro", "Amazon Nova Pro"),
        ),
    ),
    SameModel(
        "host or reseller",
        "The host of a model is removed: before the name, after it, as a path or in brackets.",
        (
            *_all_of(
                "GPT-4o", "azure/gpt-4o", "Azure GPT-4o", "Azure OpenAI GPT-4o", "GPT-4o (Azure)", "GPT-4o on Azure"
            ),
            *_all_of(
                "GPT-4o", "openrouter/openai/gpt-4o", "GPT-4o via OpenRouter", "Microsoft: GPT-4o", "Azure - GPT-4o"
            ),
            *_all_of("Gemini 2.5 Pro", "models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro"),
            *_all_of("Gemini 2.5 Pro", "gemini/gemini-2.5-pro", "vertex_ai/gemini-2.5-pro", "Google: Gemini 2.5 Pro"),
            (
                "claude-3-5-sonnet@20240620",
                "projects/p-1/locations/us-east5/publishers/anthropic/models/claude-3-5-sonnet@20240620",
            ),
            *_all_of(
                "Llama 3.1 70B Instruct",
                "accounts/fireworks/models/llama-v3p1-70b-instruct",
                "meta.llama3-1-70b-instruct-v1:0",
                "groq/llama-3.1-70b-instruct",
            ),
            ("Llama 3.3 70B", "NVIDIA: Llama 3.3 70B"),
            ("Acme Rapid LLM", "azure/acme-rapid-llm"),
            ("GLM-5", "zai-org/glm-5-maas"),
        ),
    ),
    SameModel(
        "region, account, deployment",
        "Where a model runs and who pays for it is removed: as a prefix, a path or in brackets.",
        (
            *_all_of(
                "anthropic.claude-3-5-sonnet-20241022-v2:0",
                *(f"{region}.anthropic.claude-3-5-sonnet-20241022-v2:0" for region in ("us", "eu", "apac", "global")),
                "bedrock/us-east-1/anthropic.claude-3-5-sonnet-20241022-v2:0",
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0",
                "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-3-5-sonnet-20241022-v2:0",
                "Claude 3.5 Sonnet (2024-10-22)",
            ),
            *_all_of(
                "GPT-4o", "azure/eu/gpt-4o", "azure/global-standard/gpt-4o", "GPT-4o (Sweden Central)", "GPT-4o (EU)"
            ),
            ("GPT-4o", "openai/deployments/gpt-4o"),
            ("Claude Opus 4.1", "Claude Opus 4.1 (Bedrock, us-east-1)"),
        ),
    ),
    SameModel(
        "end of life",
        "Legacy, deprecated, retiring and the like, with a date or without. A date beside legacy is the model's own.",
        (
            *_all_of("GPT-4o", "GPT-4o (Legacy)", "GPT-4o (Deprecated)", "[DEPRECATED] GPT-4o", "GPT-4o - Deprecated"),
            *_all_of(
                "GPT-4o", "GPT-4o (retiring 2026-10-01)", "GPT-4o (retiring Oct 1, 2026)", "GPT-4o (retired soon)"
            ),
            *_all_of(
                "GPT-4o", "GPT-4o, retiring in October 2026", "GPT-4o – will be retired on 1 May 2026", "GPT-4o legacy"
            ),
            *_all_of("GPT-4o", "gpt-4o-deprecated", "Legacy GPT-4o", "Deprecated: GPT-4o", "GPT-4o [EOL 12/2026]"),
            *_all_of("GPT-4o", "GPT-4o (no longer supported)", "GPT-4o (deprecated, use GPT-4.1)"),
            ("GPT-4o (2024-05-13)", "GPT-4o (Legacy, 2024-05-13)"),
            ("Acme Rapid LLM", "Acme Rapid LLM (Deprecated)"),
        ),
    ),
    SameModel(
        "label",
        "New, free, default, recommended and similar words apart from the name, and what routers add after a colon.",
        (
            *_all_of("GPT-4o", "GPT-4o (new)", "New: GPT-4o", "NEW GPT-4o", "GPT-4o [NEW!]", "GPT-4o (recommended)"),
            *_all_of("GLM 4.5 Air", "z-ai/glm-4.5-air:free", "GLM 4.5 Air (free)"),
            ("Claude Opus 4.1", "claude-opus-4-1@default"),
            ("Claude 3.5 Sonnet", "anthropic/claude-3.5-sonnet:beta"),
            ("Claude 3.5 Sonnet", "Anthropic: Claude 3.5 Sonnet (self-moderated)"),
        ),
    ),
)

ANOTHER_MODEL = (
    AnotherModel(
        "version",
        (
            ("Claude 3.7 Sonnet", "Claude 3.5 Sonnet"),
            ("Claude 3.5", "Claude 5.3"),
            ("Claude 3.7", "Claude 37"),
            ("Claude Sonnet 4", "Claude Sonnet 4.5"),
            ("anthropic.claude-v2", "anthropic.claude-v2:1"),
            ("amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0"),
            ("DeepSeek R1", "DeepSeek V3"),
            ("Claude 3.5 Sonnet", "Claude 3.5 Sonnet v2"),
            ("Claude 3.5 Sonnet", "Claude 3.5 Sonnet (old)"),
            ("GPT-4", "GPT-40"),
        ),
    ),
    AnotherModel(
        "date",
        (
            ("GPT-4o (2024-08-06)", "GPT-4o (2024-11-20)"),
            ("GPT-4o", "GPT-4o (2024-11-20)"),
            ("Kimi K2", "Kimi K2 0905"),
            ("DeepSeek R1", "DeepSeek R1 0528"),
        ),
    ),
    AnotherModel(
        "size, length, precision",
        (
            ("Llama 3 8B", "Llama 3.8B"),
            ("Llama 3.8B", "Llama 38B"),
            ("Llama 3 8B", "Llama 38B"),
            ("GPT-4", "GPT-4 32k"),
            ("Claude Sonnet 4", "Claude Sonnet 4 (1M context)"),
            ("Llama 3.3 70B", "Llama 3.3 70B FP8"),
        ),
    ),
    AnotherModel(
        "stage",
        (
            ("Gemini 2.5 Pro", "Gemini 2.5 Pro Preview"),
            ("Gemini 2.5 Pro", "Gemini 2.5 Pro (Preview)"),
            ("GPT-4 Turbo", "GPT-4 Turbo Preview"),
            ("DeepSeek V3.2", "DeepSeek V3.2 Exp"),
            ("Grok 3", "Grok 3 Beta"),
            ("Gemini Flash", "Gemini Flash Latest"),
        ),
    ),
    AnotherModel(
        "tuning, mode, effort",
        (
            ("Llama 3.3 70B", "Llama 3.3 70B Instruct"),
            ("Claude Opus 4", "Claude Opus 4 - Reasoning"),
            ("Claude 3.7 Sonnet", "Claude 3.7 Sonnet Thinking"),
            ("Grok 4 Fast", "Grok 4 Fast (Non-Reasoning)"),
            ("o4-mini", "o4-mini (high)"),
            ("GPT-4o", "GPT-4o Web Search"),
            ("GPT-5", "GPT-5 Chat"),
        ),
    ),
    AnotherModel(
        "tier",
        (
            ("GPT-4o", "GPT-4o Mini"),
            ("GPT-4", "GPT-4 Turbo"),
            ("Gemini 2.5 Flash", "Gemini 2.5 Flash-Lite"),
            ("Command R", "Command R+"),
            ("C", "C++"),
        ),
    ),
    AnotherModel(
        "somebody's own",
        (
            ("GPT-4o", "Acme GPT-4o"),
            ("Llama 3.3 70B", "snowflake-llama-3.3-70b"),
            ("gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:acme"),
            ("Llama 3.3 70B", "Llama 3.3 70B Euryale"),
            ("Acme One", "Acme One (Internal)"),
        ),
    ),
    AnotherModel(
        "words that name a company or a place where no model is told",
        (
            ("Mistral Large", "Large"),
            ("DeepSeek V3", "V3"),
            ("openai/next", "google/next"),
            ("Azure", "Bedrock"),
            ("Legacy", "Deprecated"),
            ("New York Guide", "York Guide"),
            ("Global Search", "Search"),
            ("Bedrock Guide", "Guide"),
        ),
    ),
    AnotherModel(
        "other scripts, and signs that are the whole name",
        (("通义千问", "文心一言"), ("हिन्दी", "हन्दी"), ("🚀", "🔥")),
    ),
)
