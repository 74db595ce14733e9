"""Names and what is read out of them: the tests run every one, and docs/catalogue.md is made of them."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for line in text.strip().splitlines() for name in line.split(" | "))


# Names of models, by the provider that they tell of. Every rule in `provider_families.RULES` has examples of its own.
PROVIDERS: Final = {
    "anthropic": _names(
        """
        bedrock/us-east-1/anthropic.claude-3-5-sonnet-20241022-v2:0 | us-gov.anthropic.claude-3-haiku-20240307-v1:0
        vertex_ai/claude-3-5-sonnet@20240620 | heroku/claude-4-sonnet
        Claude Sonnet 4.5 | Claude Sonnet 4 | Claude 3.7 Sonnet | Claude 3.5 Sonnet | Claude Opus 4.1
        Claude Opus 4 - Reasoning | Claude Opus 4.1 - Reasoning | claude_sonnet_4 | CLAUDE SONNET 4
        ClaudeSonnet4 | Claude3.7Sonnet | Claude-Instant-1.2 | us.anthropic.claude-sonnet-4-5-20250929-v1:0
        Anthropic's Claude 3.5 Sonnet
        anthropic/claude-opus-4.6 | Google: Claude Sonnet 4 | Claude v2 | Sonnet | Opus 5 | Haiku (Internal)
        3.7 Sonnet Thinking | Bedrock Claude 3 Haiku | Claude™ 4 Sonnet | Claude 5
        """
    ),
    "openai": _names(
        """
        azure/eu/o1 | openai/deployments/my-gpt4o-prod | Azure East US GPT-4o | GPT-4o (Sweden Central)
        databricks/databricks-gpt-5
        GPT-5 | GPT-5 Mini | GPT-5 Chat | GPT-4o | GPT-4o Mini | GPT-4o Web Search | OpenAI o3 - Reasoning
        OpenAI o3-mini - Reasoning | gpt4o | GPT4 | gpt-35-turbo-16k | azure-gpt-4o | Azure OpenAI GPT-4.1
        Acme GPT-4o | GPT 4.5 Preview | gpt-oss:20b | O3-MINI | o1 pro | o5 | o4-mini (high) | openai/o3
        chatgpt-4o-latest | GPT‑5 (EU) | Microsoft: GPT-4o | ft:gpt-4o-mini-2024-07-18
        """
    ),
    "google": _names(
        """
        models/gemini-2.5-pro | projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro
        Gemini 2.5 Flash | Gemini 2.5 Flash-Lite | Gemini 2.0 Flash | Gemini 2.5 Flash Image
        Gemini 2.5 Pro - Reasoning | Gemini 3 Pro - Reasoning | gemini-exp-1206 | GeminiPro
        Google Gemini Ultra | vertex gemini-1.5-pro-002 | Gemma2 9B | google.gemma-3-12b-it | CodeGemma 7B
        Imagen 4 Fast | Veo 3 | text-embedding-004 | PaLM 2 | Gemini 9 Deep Think
        """
    ),
    "meta": _names(
        """
        Meta's Llama 3
        accounts/fireworks/models/llama-v3p1-70b-instruct | @cf/meta/llama-3-8b-instruct | ollama/llama3:8b
        arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-1-8b-instruct-v1:0
        Llama 3.2 Vision 90B | Llama3 | llama-4-scout | Meta-Llama-3.1-405B-Instruct-Turbo
        LLaMA 2 13b chat | NVIDIA: Llama 3.3 70B | Groq-Llama-4-Maverick-17B-128E-Instruct
        meta-llama/Llama-3.3-70B-Instruct | Code Llama 34B | Llama 5 Behemoth
        """
    ),
    "mistral": _names(
        """
        Codestral | codestral-2501 | Mistral Large 2 | mistral-small-latest | Mistral AI Medium 3.1
        Mixtral 8x22B | Pixtral 12B | Ministral 8B | Devstral Medium | Magistral Small | Voxtral Mini
        open-mistral-nemo | Mistral-7B-Instruct-v0.3 | Mistral
        """
    ),
    "cohere": _names(
        """
        Cohere Command A | Command R+ | command-r-08-2024 | Command R7B | Command A Vision | Aya Expanse 8B
        Embed v4 | CommandR
        """
    ),
    "xai": _names(
        """
        oci/xai.grok-4 | bedrock_mantle/us-gov-west-1/xai.grok-4.3
        Grok 4 | grok-2-vision-1212 | xAI Grok 3 Mini Beta | Grok 4 Fast (Non-Reasoning) | Grok 5 | GROK4
        Grok
        """
    ),
    "amazon": _names(
        """
        amazon_nova/nova-pro | bedrock/us-gov-west-1/amazon.nova-pro-v1:0
        Nova Pro | Amazon Nova Lite | us.amazon.nova-micro-v1:0 | Nova 2 Lite | Nova Premier | Nova Sonic
        Titan Text G1 - Express | amazon.titan-embed-text-v2:0 | Amazon Titan Image Generator
        Bedrock Nova Canvas | AWS Nova Pro
        """
    ),
    "microsoft": _names(
        """
        Phi-4 | Phi 3.5 MoE Instruct | phi4-mini-reasoning | Azure Phi-3-small-instruct (8k) | MAI-DS-R1
        Microsoft Phi 5
        """
    ),
    "alibaba": _names(
        """
        阿里 Qwen3 Max | dashscope/qwen-max | cloudflare/@cf/qwen/qwen1.5-14b-chat
        Qwen3 Max | qwen2.5-72b | Qwen-VL-Plus | QwQ-32B-Preview | QVQ Max | Alibaba Qwen Turbo | Qwen4
        qwen/qwen3-coder:free
        """
    ),
    "moonshotai": _names(
        """
        tencent/kimi-k3 | wandb/moonshotai/Kimi-K2.5
        Kimi K2 | Kimi-K2.5 | kimi-k2-0905-preview | Moonshot Kimi K2 Thinking | moonshot-v1-8k
        Kimi K3 Turbo | KimiK2
        """
    ),
    "zhipuai": _names(
        """
        智谱 GLM-4.6
        GLM-4.6 | GLM 5 | glm-4v-plus | ChatGLM3 | Z.ai: GLM 4.5 Air | zai-org/GLM-4.7 | Zhipu GLM-4-Flash
        CogView-4 | GLM6
        """
    ),
    "deepseek": _names(
        """
        accounts/fireworks/models/deepseek-v3p1 | perplexity/deepseek-v4-pro
        DeepSeek R1 528 - Reasoning | DeepSeek R1 Distill Llama 70B | deepseek-chat | DeepSeek-V3.2-Exp
        Deepseek Coder V2 | deepseek-r1-distill-qwen-32b | DeepSeek V5 | Azure DeepSeek R1 | DeepSeekR2
        """
    ),
    "nvidia": _names(
        """
        Nemotron 3 Super | Llama 3.1 Nemotron 70B | NVIDIA Nemotron Nano 9B v2
        Llama-3.3-Nemotron-Super-49B-v1.5
        """
    ),
    "ai21": _names(
        """
        Jamba 1.5 Large | ai21.jamba-1-5-mini-v1:0 | AI21 Jamba Instruct | Jurassic-2 Ultra | Jamba Mini 1.7
        Jamba 2
        """
    ),
    "perplexity": _names(
        """
        Sonar | Sonar Pro | Perplexity Sonar Reasoning Pro | perplexity/sonar-deep-research | R1 1776
        """
    ),
    "nousresearch": _names(
        """
        Hermes 3 Llama 3.1 | Nous Hermes 2 Mixtral 8x7B | Hermes 4 405B | nousresearch/hermes-4-70b
        """
    ),
    "minimax": _names(
        """
        MiniMax-M2 | MiniMax M2.7 highspeed | minimax-text-01 | MiniMaxAI/MiniMax-M1-80k | MiniMax M3
        """
    ),
    "ibm": _names(
        """
        Granite 4.0 H Small | ibm-granite/granite-4.1-8b | IBM Granite 3.3 | granite-guardian-3.2-5b
        """
    ),
    "stepfun": _names(
        """
        Step 3.5 Flash | Step-2 Mini | step-3
        """
    ),
    "01-ai": _names(
        """
        Yi Large | Yi-Lightning | yi-34b-chat | 01-ai/Yi-1.5-34B
        """
    ),
    "bytedance": _names(
        """
        Doubao Seed 1.6 Thinking | ByteDance Seed: Seed-2.0-Mini | doubao-pro-32k | Seed-OSS-36B-Instruct
        """
    ),
    "baidu": _names(
        """
        ERNIE 4.5 Turbo VL | ERNIE-X1.1 | 文心一言
        """
    ),
    "tencent": _names(
        """
        Hunyuan Turbo S | hunyuan-t1 | Tencent: Hy3 Preview
        """
    ),
}

# Names that only look like a model's, or are two providers' at once, or somebody's own work upon open weights.
NO_MAKER: Final = _names(
    """
    Ultimate 8-in-1 LLM Router | Acme Rapid LLM (Internal) | Acme Precise LLM (Internal) | Acme Opus Dei
    Magnum Opus | Opus Audio | Sonnets Generator | Sonnet Writer | Shakespeare Sonnet | Haiku Poet
    Novara Assistant | Nova | Acme Nova | Supernova Pro | Nova Pro Wrestling | Nova Scotia Guide
    Deepgram Nova 3 | Llama 3.3 70B Nova | Philosophy Bot | Phillip | Phi Beta Kappa | Delphi 2
    Grokking helper | Grok My Code | Commander | Command Center | Command Line Tutor | High Command
    Metabot | Meta Analysis | Metaphor 2 | Meta Search | Solaris | Solar System Guide | Solar Pro Planner
    Granite Countertops 2 | Falcon 9 Telemetry | Falcon Heavy | Hermes Parcel Tracker | Hermes
    Mercury Retrograde | Titan Security | Titanic 2 | Gemini Horoscope | Gemini Zodiac Sign Reader
    Claude Monet | Claude Monet Style 2 | Jean-Claude | Claudette 2 | Llama Farm | Ollama
    LlamaIndex Helper | TinyLlama 1.1B | Mistral Wind Forecast | Minimax Solver | Flash 2 | Pro | Turbo 4
    R1 | V3 | O2 Customer Care | Vitamin O3 Advisor | Ozone O3 Sensor | GPT4All | BloombergGPT | AcmeGPT
    MedGPT 4 | AutoGPT | Cerebras-GPT 13B | GPT-4o compatible gateway | OpenAI Proxy
    OpenAI-compatible Endpoint | Claude vs GPT-4o | GPT-4o + Claude 3.5 Sonnet | Best of Claude and Gemini
    GPT-5 / Gemini 2.5 Pro | Dolphin Mixtral 8x7B | Llama 3.3 70B Euryale | Gemma 3 27B Glitter
    Amoral Gemma3 27B | OpenPipe Qwen3 14B | EVA Qwen2.5 32B | Qwen 2.5 32B Abliterated | E5 Mistral 7B
    Llama 3 Storyteller | Orca | Aurora | Ring Doorbell 2 | Ling | Step by Step Tutor | Step 1 Intake
    Yi Jing Oracle | Kimi Fan Club | Ernie and Bert | Seed Catalogue | Sonar Scanner | SonarQube
    Imagen Médica | Palm Reader | Bard of Avon | Flux Capacitor | Flux 1 Capacitor | Sora Kitchen
    Whisper Network | Codex Alimentarius | Jamba Juice | Arctic Explorer | Trinity College
    Inflection Point | Cogito Ergo Sum | Morpheus | Perplexity Calculator | Google Sheets Agent
    Amazon Reviews Summarizer | Microsoft Teams Assistant | Azure | Bedrock Default | Default | Auto
    openpipe/qwen3-14b | azure/my-deployment | bedrock/abc | thedrummer/rocinante-12b | accounts/acme/models/next
    GPT-4o Llama mix | Claude 3.5 Qwen blend | xai-team/our-thing | anthropic-lab/our-thing | openai-fans/next
    Best Model | 小助手 | 🚀 | Not GPT-4 | Non-Claude Fallback | Text Embedding
    """
)

SLUGS: Final = (
    ("Claude 3.7 Sonnet", "claude-3-7-sonnet"),
    ("Gemini 2.5 Flash-Lite", "gemini-2-5-flash-lite"),
    ("GPT-4o", "gpt-4o"),
    ("  Acme -- Rapid (Internal) ", "acme-rapid-internal"),
    ("Command R", "command-r"),
    ("Command R+", "command-r-plus"),
    ("Modèle Élan", "modele-elan"),
    ("ＧＰＴ－４ｏ", "gpt-4o"),
    ("通义千问 Max 2", "tongyiqianwen-max-2"),
    ("文心一言 4.0", "wenxinyiyan-4-0"),
    ("文心+", "wenxin-plus"),
    ("豆包1.5", "doubao-1-5"),
    ("مرحبا GPT", "mrhb-gpt"),
    ("שלום 3", "slvm-3"),
    ("Яндекс GPT 5", "yandeks-gpt-5"),
    ("ひらがな モデル", "hiragana-moderu"),
    ("한국어 모델", "hangugeo-model"),
    ("हिन्दी", "hindi"),
    ("Søren Ł", "soren-l"),
    ("GPT-٤", "gpt-4"),
    ("4.0", "model-4-0"),
    ("⟁ 4", "model-4"),
    ("👩‍💻 Coder", "coder"),
    ("🚀", "rocket"),
    ("🚀 3", "rocket-3"),
    ("𒀀", ""),
    ("+", ""),
)

# A name, the same without the mode in which it is run, and the mode.
BARE: Final = (
    ("Claude Opus 4.1 - Reasoning", "Claude Opus 4.1", "reasoning"),
    ("Claude 3.7 Sonnet Thinking", "Claude 3.7 Sonnet", "reasoning"),
    ("anthropic/claude-3.7-sonnet:thinking", "Claude 3.7 Sonnet", "reasoning"),
    ("Grok 4 Fast (Non-Reasoning)", "Grok 4 Fast", "non-reasoning"),
    ("GPT-4o Web Search", "GPT-4o", "web search"),
    ("GPT-4o Web Search - Reasoning (Legacy)", "GPT-4o", "web search,reasoning"),
    ("Gemini 2.5 Pro Preview 05-06", "Gemini 2.5 Pro Preview 05-06", ""),
    ("Llama 3.3 70B Instruct", "Llama 3.3 70B Instruct", ""),
    ("GPT-5 Chat", "GPT-5 Chat", ""),
    ("Thinking", "Thinking", ""),
)

# Models that gateways list, and where the public data knows them from.
FOUND: Final = (
    ("Claude Sonnet 4.5", "models-dev:anthropic", "claude-sonnet-4-5-20250929"),
    ("Claude 3.7 Sonnet", "models-dev:anthropic", "claude-3-7-sonnet-20250219"),
    ("Claude 3.5 Sonnet", "models-dev:anthropic", "claude-3-5-sonnet-20240620"),
    ("Claude Opus 4.1", "models-dev:anthropic", "claude-opus-4-1-20250805"),
    ("Claude Opus 4 - Reasoning", "models-dev:anthropic", "claude-opus-4-20250514"),
    ("Claude Haiku 4.5 (EU)", "models-dev:anthropic", "claude-haiku-4-5-20251001"),
    ("Gemini 2.5 Flash-Lite", "models-dev:google", "gemini-2.5-flash-lite"),
    ("Gemini 2.5 Flash Image", "models-dev:google", "gemini-2.5-flash-image"),
    ("Gemini 2.5 Pro - Reasoning", "models-dev:google", "gemini-2.5-pro"),
    ("Gemini 3 Pro - Reasoning", "models-dev:google", "gemini-3-pro-preview"),
    ("GPT-5 Mini", "models-dev:openai", "gpt-5-mini"),
    ("GPT-5 Chat", "models-dev:openai", "gpt-5-chat-latest"),
    ("GPT-4o", "models-dev:openai", "gpt-4o"),
    ("GPT-4o Web Search", "models-dev:openai", "gpt-4o"),
    ("Azure GPT-4o", "models-dev:openai", "gpt-4o"),
    ("OpenAI o3 - Reasoning", "models-dev:openai", "o3"),
    ("OpenAI o3-mini - Reasoning", "models-dev:openai", "o3-mini"),
    ("o1-preview", "models-dev:openai", "o1-preview"),
    ("DeepSeek R1 528 - Reasoning", "models-dev:azure", "deepseek-r1-0528"),
    ("Llama 3.2 Vision 90B", "models-dev:azure", "llama-3.2-90b-vision-instruct"),
    ("Cohere Command A", "models-dev:cohere", "command-a-03-2025"),
    ("Command R+", "models-dev:cohere", "command-r-plus-08-2024"),
    ("Nova Pro", "models-dev:amazon-bedrock", "amazon.nova-pro-v1:0"),
    ("Mistral Large 24.11", "models-dev:mistral", "mistral-large-2411"),
    ("Qwen: Qwen3 235B A22B", "models-dev:alibaba", "qwen3-235b-a22b"),
    (
        "bedrock/us-east-1/anthropic.claude-3-5-sonnet-20241022-v2:0",
        "models-dev:anthropic",
        "claude-3-5-sonnet-20241022",
    ),
    ("openrouter/openai/gpt-4o:free", "models-dev:openai", "gpt-4o"),
    ("deepseek.v3-v1:0", "models-dev:amazon-bedrock", "deepseek.v3-v1:0"),
)
NOT_FOUND: Final = _names(
    """
    Ultimate 8-in-1 LLM Router | Acme Rapid LLM (Internal) | Acme Precise LLM (Internal) | GPT-4o - Reasoning
    GPT-9 | Claude | Claude Opus 41 | Gemini Horoscope | Jamba 1.5 Large | 🚀 | DeepSeek V3 | GPT-4 Turbo Preview
    Gemini 2.5 Pro Preview 05-06 | Mistral Large | Kimi K2 | Llama 3.1 70B | GPT-4o (2023-01-01) | Claude 3.5 Sonnet v3
    Qwen3 235B A22B Thinking | Gemini 2.0 Flash Thinking
    """
)
