"""The families of models by provider: a table, an example or more for each rule (the tests run every one). Pure.

It is longer than 300 lines because it is one table: a rule is a line or two, and which provider a name means is read
from all of them together.

A rule's words are matched over a name's words in lower case, joined by single spaces: "GPT-4o-Mini" is `gpt 4o mini`,
"Llama3.1-8B" is `llama 3.1 8b`, "us.amazon.nova-pro-v1:0" is `us amazon nova pro v1 0`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Context(Enum):
    """Which unknown words may stand beside a rule's own without making the rule doubtful."""

    ANY = "anything beside it"
    AFTER = "anything after it"
    TIERS = "only sizes, tiers, uses, qualifiers, hosts"
    PLAIN = "only numbers, qualifiers, hosts"


ANY, AFTER, TIERS, PLAIN = Context.ANY, Context.AFTER, Context.TIERS, Context.PLAIN


@dataclass(frozen=True, slots=True)
class Rule:
    """`prefix`: what the words start with, "|" between alternatives; `pattern`: what must follow directly.

    `builds_on`: providers whose open weights this one builds on; their words beside the rule's own are no second one.
    """

    provider: str
    prefix: str
    pattern: str
    context: Context
    examples: tuple[str, ...]
    builds_on: frozenset[str] = frozenset()


_OPEN: Final = frozenset({"meta", "mistral", "alibaba", "deepseek", "google", "microsoft", "moonshotai", "openai"})
_VERSION: Final = r" v?\d+(\.\d+)?"  # a word that begins as a version does: "3", "v2", "3.5", "4o", "72b"
_WHOLE: Final = r"(?= |$)"
_N: Final = r" v?\d+(\.\d+)*" + _WHOLE
_SIZE: Final = r" \d+(\.\d+)?(x\d+)?b" + _WHOLE


def _one_of(words: str) -> str:
    return rf" ({words.replace(' ', '|')})" + _WHOLE


RULES: Final = (
    # Closed weights: nobody else can publish a tuning of them, so a version beside the family's name is enough.
    Rule("anthropic", "claude", r" ?(sonnet|opus|haiku|instant|mythos)", ANY, ("Claude Sonnet 4", "ClaudeSonnet4")),
    Rule(
        "anthropic",
        "claude",
        r" v?\d+(\.\d+)*(sonnet|opus|haiku)?" + _WHOLE,
        AFTER,
        ("Claude 3.7 Sonnet", "Claude3.7Sonnet", "claude-v2", "eu.anthropic.claude-3-haiku-v1:0"),
    ),
    Rule("anthropic", "claude", r"( v?\d\S*)? [a-z]+ v?\d+(\.\d+)?$", AFTER, ("Claude Neptune 5",)),
    Rule("anthropic", "claude", _WHOLE, TIERS, ("Claude", "Claude Code (Internal)")),
    Rule("anthropic", "sonnet|opus|haiku", _WHOLE, PLAIN, ("Sonnet 4.5", "Opus 4.1 - Reasoning", "3.5 Haiku")),
    Rule("anthropic", "anthropic", _WHOLE, AFTER, ("Anthropic: next model",)),
    Rule("openai", "openai", r"(o [1-9]\S*|gpt)?" + _WHOLE, AFTER, ("OpenAI o3 - Reasoning", "OpenAIo3")),
    Rule("openai", "open ai", r" (gpt|o\d)", AFTER, ("Open AI GPT-4",)),
    Rule("openai", "chatgpt|chat gpt", _WHOLE, AFTER, ("ChatGPT-4o Latest",)),
    Rule(
        "openai",
        "gpt|chatgpt",
        r" ([1-9](\.\d+)?|35)[ov]?(mini|nano|turbo|pro|codex|chat)?(?![\w.])(?! all\b)",
        ANY,
        ("GPT-4o", "gpt4o", "GPT4oMini", "gpt-35-turbo", "Azure gpt-4.1-mini", "GPT-6"),
    ),
    Rule(
        "openai",
        "gpt",
        _one_of("oss image realtime audio tts transcribe chat latest live"),
        TIERS,
        ("gpt-oss-120b", "GPT Image 1"),
    ),
    Rule("openai", "o1|o3|o4|o5|o6", _WHOLE, TIERS, ("o3", "o4-mini", "o1-preview", "o3-deep-research")),
    Rule("openai", "4o|4omini", _WHOLE, PLAIN, ("4o",)),
    Rule("openai", "whisper", _WHOLE, PLAIN, ("Whisper",)),
    Rule("openai", "tts", r" 1( hd)?" + _WHOLE, PLAIN, ("tts-1-hd",)),
    Rule("openai", "codex", _one_of("mini max"), TIERS, ("Codex Mini",)),
    Rule("openai", "dall e|dalle", _WHOLE, TIERS, ("DALL-E 3",)),
    Rule("openai", "sora", _N, TIERS, ("Sora 2 Pro",)),
    Rule("openai", "whisper", r" (\d|v\d|tiny|small|medium|large|base|turbo)", TIERS, ("Whisper Large v3 Turbo",)),
    Rule("openai", "text", r" embedding (3|ada)" + _WHOLE, TIERS, ("text-embedding-3-small", "text-embedding-ada-002")),
    Rule("openai", "text davinci|davinci|babbage|curie", r" \d", TIERS, ("text-davinci-003", "babbage-002")),
    Rule("openai", "omni moderation", _WHOLE, TIERS, ("omni-moderation-latest",)),
    Rule("google", "gemini", _VERSION, AFTER, ("Gemini 2.5 Flash-Lite", "gemini2.0flash", "Gemini 4 Ultra Deep Think")),
    Rule(
        "google", "gemini", r"|pro|flash|ultra|nano", TIERS, ("Gemini", "Gemini Pro", "GeminiPro", "Gemini Embedding")
    ),
    Rule("google", "gemini", _one_of("robotics live deep embedding"), AFTER, ("Gemini Robotics-ER 1.5",)),
    Rule("google", "nano banana", _WHOLE, TIERS, ("Nano Banana 2",)),
    Rule("google", "gemma", _VERSION, TIERS, ("Gemma 3 27B IT", "gemma-3n-e4b-it")),
    Rule("google", "gemma", _WHOLE, TIERS, ("Gemma",)),
    Rule(
        "google",
        "paligemma|codegemma|medgemma|shieldgemma|recurrentgemma|embeddinggemma|functiongemma|translategemma|t5gemma",
        "",
        TIERS,
        ("MedGemma 27B", "paligemma", "EmbeddingGemma 300M"),
    ),
    Rule("google", "palm", r" 2" + _WHOLE, TIERS, ("PaLM 2",)),
    Rule("google", "text bison|chat bison|code bison|codechat bison|text unicorn", "", TIERS, ("chat-bison@002",)),
    Rule("google", "palm 2 chat bison|palm 2 codechat bison", "", TIERS, ("PaLM 2 Chat Bison",)),
    Rule("google", "lyria", _WHOLE, TIERS, ("Lyria",)),
    Rule("google", "imagen|veo|lyria|chirp", _N, TIERS, ("Imagen 4 Ultra", "Veo 3.1 Fast", "Lyria 2")),
    Rule("google", "learnlm", "", TIERS, ("LearnLM 2.0 Flash Experimental", "Gemini LearnLM Experimental")),
    Rule("google", "text embedding|text multilingual embedding", r" 0\d\d" + _WHOLE, TIERS, ("text-embedding-005",)),
    Rule("google", "textembedding gecko|flan t 5|flan t5|flan ul2", "", TIERS, ("Flan-T5 XXL", "textembedding-gecko")),
    Rule("xai", "grok", _VERSION, AFTER, ("Grok 4.1 Fast (Non-Reasoning)", "grok3", "Grok 6 Heavy")),
    Rule(
        "xai",
        "grok",
        r"( (beta|code|mini|fast|build|imagine|vision|heavy))?" + _WHOLE,
        TIERS,
        ("Grok", "Grok Code Fast"),
    ),
    Rule("xai", "xai|x ai", _WHOLE, AFTER, ("xAI Grok 4", "x-ai/grok-4")),
    Rule(
        "amazon",
        "nova",
        r"( v?\d(\.\d)?)? ?(pro|lite|micro|premier|canvas|reel|sonic|omni)" + _WHOLE,
        TIERS,
        ("Nova Pro", "NovaPro", "Amazon Nova 2 Lite", "us.amazon.nova-premier-v1:0"),
    ),
    Rule(
        "amazon",
        "amazon nova|amazon titan|aws nova|aws titan",
        r"( image generator)?" + _WHOLE,
        AFTER,
        ("Amazon Nova Act", "AWS Nova 3"),
    ),
    Rule(
        "amazon", "titan", _one_of("text embed embeddings embedding image multimodal"), TIERS, ("Titan Text Express",)
    ),
    Rule("cohere", "cohere", _one_of("command embed rerank aya c4ai"), AFTER, ("Cohere Command A",)),
    Rule("cohere", "cohere", _WHOLE, TIERS, ("Cohere 4", "cohere.embed-v4:0")),
    Rule(
        "cohere",
        "command",
        r" ?(a|r\+?|r7b|r 7b|r plus|light|nightly)" + _WHOLE,
        TIERS,
        ("Command R+", "CommandR", "command-a-03-2025"),
    ),
    Rule("cohere", "commandr", r" 7b" + _WHOLE, TIERS, ("CommandR7B",)),
    Rule("cohere", "aya", r" (expanse|vision|101|23|\d+b)" + _WHOLE, TIERS, ("Aya Expanse 32B",)),
    Rule("cohere", "c4ai", _WHOLE, AFTER, ("c4ai-command-r-plus",)),
    Rule(
        "cohere",
        "embed|rerank",
        r"( (english|multilingual))? v[3-9](\.\d)?" + _WHOLE,
        TIERS,
        ("Embed v4", "rerank-english-v3.0"),
    ),
    Rule("ai21", "ai21", "", AFTER, ("AI21 Jamba 1.5 Large", "AI21 Labs: next")),
    Rule(
        "ai21",
        "jamba",
        r"( (large|mini|instruct|reasoning|1|1\.\d|\d))" + _WHOLE,
        TIERS,
        ("Jamba Large 1.7", "Jamba 1.5 Mini"),
    ),
    Rule(
        "ai21",
        "jurassic|j2",
        r"( ([12]|ultra|mid|light|grande|jumbo))+" + _WHOLE,
        TIERS,
        ("Jurassic-2 Ultra", "j2-ultra"),
    ),
    Rule(
        "perplexity",
        "sonar",
        _one_of("pro small medium large huge reasoning deep"),
        TIERS,
        ("Sonar Pro", "Llama 3.1 Sonar Small 128k Online"),
        frozenset({"meta"}),
    ),
    Rule("perplexity", "sonar", _WHOLE, PLAIN, ("Sonar",)),
    Rule("perplexity", "perplexity", _WHOLE, TIERS, ("Perplexity Sonar Deep Research",)),
    Rule("perplexity", "r1 1776", _WHOLE, TIERS, ("R1 1776", "DeepSeek R1 1776"), frozenset({"deepseek"})),
    Rule("perplexity", "pplx", r" (\d+b|8x7b|online)" + _WHOLE, TIERS, ("pplx-70b-online",)),
    # Open weights: anybody publishes tunings of them, so an unknown word before the name is somebody else's.
    Rule(
        "meta",
        "llama",
        _VERSION,
        TIERS,
        ("Llama 3.2 Vision 90B", "Llama3", "meta.llama3-1-70b-instruct-v1:0", "Llama 4 Maverick"),
    ),
    Rule(
        "meta",
        "llama",
        _one_of("guard prompt maverick scout behemoth"),
        TIERS,
        ("Llama Guard 3 8B", "Llama Prompt Guard 2 86M"),
    ),
    Rule(
        "meta",
        "meta llama|facebook llama|meta codellama",
        "",
        AFTER,
        ("Meta Llama 3.1 8B Instruct Turbo", "Meta Llama 5 Quasar"),
    ),
    Rule("meta", "codellama|code llama", "", TIERS, ("Code Llama 70B", "CodeLlama-34b-Instruct-hf")),
    Rule("meta", "meta ai", _WHOLE, PLAIN, ("Meta AI",)),
    Rule("meta", "muse", _one_of("spark wonder glimmer voice image"), TIERS, ("Muse Spark 1.3", "muse-wonder-1.0")),
    Rule(
        "mistral",
        "mistral",
        r"( ai| open)?( v?\d\S*| (tiny|small|medium|large|nemo|nemotron|saba|embed|ocr|moderation)(?= |$))",
        TIERS,
        ("Mistral Large 2", "Mistral 7B Instruct v0.3", "Mistral-Small-3.2-24B", "Mistral OCR", "mistral-nemotron"),
    ),
    Rule("mistral", "mistrallarge|mistralsmall|mistralmedium", "", TIERS, ("MistralLarge2",)),
    Rule(
        "mistral",
        "mistral|mistralai|open mistral",
        _WHOLE,
        TIERS,
        ("Mistral", "mistralai/Mistral-Nemo", "open-mistral-7b"),
    ),
    Rule("mistral", "mixtral|open mixtral|mathstral", "", TIERS, ("Mixtral 8x7B Instruct", "open-mixtral-8x22b")),
    Rule(
        "mistral",
        "codestral|devstral|magistral|ministral|pixtral|voxtral|leanstral",
        "",
        AFTER,
        ("Codestral", "Magistral Medium 1.2", "Pixtral Large (25.02)", "Devstral Small"),
    ),
    Rule(
        "deepseek",
        "deepseek|deep seek",
        r"(r|v|coder|chat|vl)?" + _WHOLE,
        AFTER,
        ("DeepSeek R1 528 - Reasoning", "deepseek-ai/DeepSeek-V3", "DeepSeekV3", "Deepseek Reasoner"),
    ),
    Rule(
        "deepseek",
        "deepseek r1 distill|r1 distill|ds r1 distill",
        _WHOLE,
        TIERS,
        ("DeepSeek R1 Distill Llama 70B", "R1 Distill Qwen 32B"),
        frozenset({"meta", "alibaba"}),
    ),
    Rule("deepseek", "deepseek r1", r" (0528|528) qwen", TIERS, ("DeepSeek R1 0528 Qwen3 8B",), frozenset({"alibaba"})),
    Rule(
        "alibaba",
        "qwen|qwq|qvq",
        r"(long|vl|coder|guard|max|plus|turbo|audio|math|image|mt)?" + _WHOLE,
        AFTER,
        ("qwen2.5-72b", "Qwen3 Max", "QwQ 32B", "QVQ Max", "QwenLong L1 32B", "Qwen4 Omni"),
    ),
    Rule("alibaba", "tongyi|qianwen", "", AFTER, ("Tongyi DeepResearch 30B A3B",)),
    Rule("alibaba", "通义|千问", r"\S*", AFTER, ("通义千问 Max",)),
    Rule("alibaba", "wan", r" 2(\.\d)?" + _WHOLE, TIERS, ("Wan 2.5",)),
    Rule("alibaba", "marco o1|z image", _WHOLE, TIERS, ("Marco-o1", "Z-Image Turbo")),
    Rule("alibaba", "text embedding", r" v[1-9]" + _WHOLE, TIERS, ("text-embedding-v4",)),
    Rule(
        "moonshotai",
        "kimi",
        r" ?(k ?\d|v?\d|latest|thinking|vl|dev|linear|audio|for coding|researcher)",
        AFTER,
        ("Kimi K2 Thinking", "KimiK2", "Kimi-K2.5", "kimi-latest"),
    ),
    Rule("moonshotai", "kimi", _WHOLE, PLAIN, ("Kimi",)),
    Rule("moonshotai", "moonshotai|moonshot", "", AFTER, ("Moonshot v1 128k", "moonshotai/kimi-k3")),
    Rule(
        "zhipuai",
        "glm",
        r" ?(\d|z1|zero|air|flash|plus|ocr|image|asr|tts|long|edge|for coding|realtime)",
        AFTER,
        ("GLM-4.5-Air", "GLM4", "GLM-4.6V", "GLM Z1 Air"),
    ),
    Rule("zhipuai", "glm", _WHOLE, PLAIN, ("GLM",)),
    Rule(
        "zhipuai",
        "chatglm|autoglm|codegeex|cogview|cogvideo|cogvideox|cogvlm|cogagent",
        "",
        AFTER,
        ("ChatGLM3-6B", "CogView-4", "AutoGLM Phone 9B"),
    ),
    Rule(
        "zhipuai",
        "zhipu|zhipuai|zai|z ai|thudm|智谱",
        _WHOLE,
        AFTER,
        ("Zhipu AI GLM-5", "Z.ai GLM 4.6", "zai-org/GLM-4.7"),
    ),
    Rule(
        "nvidia",
        "nemotron|openreasoning nemotron|minitron|nemoretriever",
        "",
        TIERS,
        ("Llama 3.1 Nemotron Ultra 253B", "Nemotron 3 Nano 30B", "OpenReasoning Nemotron 32B"),
        frozenset({"meta", "alibaba", "mistral"}),
    ),
    Rule(
        "nvidia",
        "nv embed|nv embedcode|nv embedqa|nv rerankqa|nvlm|cosmos reason|cosmos predict|cosmos transfer",
        "",
        TIERS,
        ("NV-Embed-v2", "Cosmos Reason 7B"),
    ),
    Rule("nvidia", "nvidia", _one_of("nemotron cosmos parakeet canary"), AFTER, ("NVIDIA Nemotron Nano 9B v2",)),
    Rule(
        "microsoft",
        "phi",
        r" [1-9](\.\d)?" + _WHOLE,
        TIERS,
        ("Phi-4", "Phi-3-medium-instruct (128k)", "phi4-mini", "Phi-3.5-MoE-instruct"),
    ),
    Rule("microsoft", "microsoft deepseek r1", _WHOLE, PLAIN, ("Microsoft DeepSeek R1",)),  # as lists call MAI-DS-R1
    Rule("microsoft", "phi silica", "", TIERS, ("Phi Silica",)),
    Rule(
        "microsoft",
        "mai",
        _one_of("1 2 ds voice image transcribe"),
        AFTER,
        ("MAI-DS-R1", "MAI-1-preview"),
        frozenset({"deepseek"}),
    ),
    Rule("microsoft", "wizardlm", r" 2" + _WHOLE, TIERS, ("WizardLM-2 8x22B",), frozenset({"mistral"})),
    Rule("microsoft", "orca|florence", r" 2" + _WHOLE, TIERS, ("Orca 2 13B",)),
    Rule(
        "minimax",
        "minimax|minimaxai|mini max",
        r" ?([mh] ?\d|text|vl|abab|hailuo|speech|music|image|01)",
        AFTER,
        ("MiniMax M2", "MiniMax-M2.5-highspeed", "MiniMaxM2", "MiniMax-Text-01"),
    ),
    Rule("minimax", "minimax|minimaxai", _WHOLE, PLAIN, ("MiniMax", "minimax.minimax-m2")),
    Rule("minimax", "abab|hailuo", r" ?\d", TIERS, ("abab6.5s-chat", "Hailuo 02")),
    Rule(
        "ibm",
        "granite",
        r" (\d|guardian|code|embedding|vision|speech|docling)",
        TIERS,
        ("Granite 4.0 H Micro", "IBM Granite 3.3 8B Instruct"),
    ),
    Rule("databricks", "dbrx", "", TIERS, ("DBRX Instruct",)),
    Rule("bytedance", "doubao|skylark|bytedance", "", AFTER, ("Doubao 1.5 Pro 256k", "ByteDance Seed 1.6")),
    Rule("bytedance", "豆包", r"\S*", AFTER, ("豆包1.5",)),
    Rule("bytedance", "seed", r" (oss|coder|\d\.\d|code)" + _WHOLE, TIERS, ("Seed 1.6 Flash", "Seed-OSS-36B-Instruct")),
    Rule("bytedance", "seedream|seedance|seededit|ui tars", "", TIERS, ("Seedream 4.0", "UI-TARS 7B")),
    Rule(
        "baidu",
        "ernie",
        r" (\d|x1|bot|speed|lite|tiny|turbo|character)",
        AFTER,
        ("ERNIE 4.5 300B A47B", "ERNIE Bot 4", "ERNIE X1.1"),
    ),
    Rule("baidu", "文心", r"\S*", AFTER, ("文心一言 4.0",)),
    Rule("baidu", "qianfan|paddleocr|baidu", "", AFTER, ("Qianfan OCR Fast", "Baidu ERNIE 5")),
    Rule("tencent", "hunyuan|混元|tencent", "", AFTER, ("Hunyuan-T1", "Tencent HY 2.0 Think")),
    Rule("tencent", "hy2|hy3|hy4", _WHOLE, PLAIN, ("Hy3 preview",)),
    Rule(
        "01-ai",
        "yi",
        r" (large|lightning|medium|spark|vision|vl|coder|1\.5|\d+b)" + _WHOLE,
        TIERS,
        ("Yi Large", "Yi-34B-Chat", "Yi 1.5 9B"),
    ),
    Rule("01-ai", "01 ai|零一万物", "", AFTER, ("01.AI: next", "01-ai/Yi-Large")),
    Rule(
        "stepfun",
        "step",
        r" ([1-9](\.\d)?|r1|1v|1o|1x|audio)" + _WHOLE,
        TIERS,
        ("Step 3.5 Flash", "Step-2 16k", "Step R1 V Mini"),
    ),
    Rule("stepfun", "stepfun", "", AFTER, ("StepFun: Step-4",)),
    Rule(
        "upstage",
        "solar",
        r" (pro|mini|10\.7b|1 mini)" + _WHOLE,
        TIERS,
        ("Solar Pro 3", "solar-pro2", "solar-10.7b-instruct"),
    ),
    Rule("upstage", "upstage", "", AFTER, ("Upstage: Solar Open",)),
    Rule(
        "tiiuae",
        "falcon",
        r" ([1-4]|\d+b|h1|mamba|arabic|180b)" + _WHOLE,
        TIERS,
        ("Falcon 3 10B", "falcon-40b-instruct", "Falcon-H1 34B"),
    ),
    Rule(
        "inception",
        "mercury",
        r" ([2-9](\.\d)?|coder|edit)" + _WHOLE,
        TIERS,
        ("Mercury Coder", "Mercury 2", "Mercury 2.5"),
    ),
    Rule("inception", "inception mercury", "", AFTER, ("Inception: Mercury Next",)),
    Rule("liquid", "lfm|lfm2", r"( ?\d| (moe|vl|audio)|$)", TIERS, ("LFM2-24B-A2B", "LFM 7B")),
    Rule("liquid", "liquidai|liquid lfm|liquid ai", "", AFTER, ("LiquidAI: LFM 3",)),
    Rule(
        "nousresearch",
        "hermes",
        r" ([2-9](\.\d)?)",
        TIERS,
        ("Hermes 3 Llama 3.1 405B", "Hermes 4 70B", "Hermes 2 Pro Llama 3 8B"),
        _OPEN,
    ),
    Rule(
        "nousresearch",
        "nous hermes|nous capybara|nousresearch|openhermes|deephermes",
        "",
        TIERS,
        ("Nous Hermes 2 Mixtral 8x7B", "DeepHermes 3 Mistral 24B", "OpenHermes 2.5 Mistral 7B"),
        _OPEN,
    ),
    Rule("arcee", "arcee", "", AFTER, ("Arcee AI: Virtuoso Large",), _OPEN),
    Rule("arcee", "trinity", _one_of("mini nano large"), TIERS, ("Trinity Mini", "Trinity Large Thinking")),
    Rule("arcee", "afm", r" 4\.5b", TIERS, ("AFM 4.5B",)),
    Rule("writer", "palmyra|writer palmyra", "", AFTER, ("Palmyra X5", "Writer Palmyra Med")),
    Rule("reka", "reka", r" (core|flash|edge|spark|nexus|\d)", TIERS, ("Reka Flash 3", "Reka Core")),
    Rule("reka", "rekaai|reka ai", "", AFTER, ("RekaAI/reka-core",)),
    Rule("snowflake", "arctic", _one_of("instruct embed"), TIERS, ("Arctic Instruct", "snowflake-arctic-embed-l")),
    Rule("snowflake", "snowflake arctic", "", AFTER, ("Snowflake Arctic",)),
    Rule("allenai", "olmo|molmo|olmoe|allenai|allen ai", "", TIERS, ("OLMo 2 32B", "Olmo 3 32B Think", "Molmo 7B")),
    Rule("allenai", "tulu", r"( v?\d|$)", TIERS, ("Tülu 3 405B", "Llama 3.1 Tulu 3 70B"), frozenset({"meta"})),
    Rule(
        "stabilityai",
        "stable diffusion|stable image|stable audio|stable video|stable code|stable lm|stable beluga",
        "",
        AFTER,
        ("Stable Diffusion 3.5 Large", "Stable Image Ultra"),
    ),
    Rule(
        "stabilityai",
        "stablelm|stablediffusion|stablediffusionxl|stabilityai|stability ai|stability stable|sdxl",
        "",
        AFTER,
        ("StableLM 2 12B", "SDXL Turbo"),
    ),
    Rule(
        "blackforestlabs",
        "flux",
        r"( ([12](\.\d)?|pro|dev|schnell|kontext|ultra|klein|krea|max|fill))+" + _WHOLE,
        TIERS,
        ("FLUX.1 Kontext [max]", "FLUX.1-schnell", "FLUX.2 Klein 4B"),
    ),
    Rule("blackforestlabs", "black forest labs|bfl", _WHOLE, AFTER, ("Black Forest Labs FLUX", "bfl/flux-3")),
    Rule("xiaomi", "mimo|mi mo", r" (v ?\d|vl|\d+b|m2|audio)", TIERS, ("MiMo-V2-Flash", "MiMo-7B-RL")),
    Rule("xiaomi", "xiaomi|xiaomimimo", "", AFTER, ("Xiaomi MiMo", "XiaomiMiMo/MiMo-V3")),
    Rule(
        "inclusionai",
        "ling|ring",
        r" (1t|[2-9]\.\d|(flash|mini|lite|plus)( \d\.\d)?)" + _WHOLE,
        TIERS,
        ("Ling-1T", "Ring-2.6-1T", "Ling-flash-2.0"),
    ),
    Rule("inclusionai", "inclusionai", "", AFTER, ("inclusionAI/Ming-Omni",)),
    Rule("kwaipilot", "kat", _one_of("coder dev"), AFTER, ("KAT-Coder-Pro V2", "KAT-Dev 32B")),
    Rule("kwaipilot", "kwaipilot", "", AFTER, ("Kwaipilot/KAT-Dev",)),
    Rule("sarvam", "sarvam|sarvamai", "", AFTER, ("Sarvam-105B", "sarvam-m")),
    Rule("lg", "exaone", "", TIERS, ("EXAONE 4.0 32B", "LG EXAONE Deep 32B")),
    Rule(
        "internlm",
        "internlm|internvl|intern s1|intern s 1",
        "",
        AFTER,
        ("InternLM2.5 20B Chat", "InternVL3 78B", "Intern-S1"),
    ),
    Rule(
        "baai",
        "bge",
        _one_of("m3 small base large reranker multilingual en code vl"),
        TIERS,
        ("BGE M3", "bge-large-en-v1.5"),
    ),
    Rule("huggingface", "smollm|smolvlm", "", TIERS, ("SmolLM3 3B", "SmolVLM2")),
    Rule("huggingface", "zephyr", _SIZE, TIERS, ("Zephyr 7B Beta",)),
    Rule("bigcode", "starcoder", "", TIERS, ("StarCoder2 15B",)),
    Rule(
        "voyage",
        "voyage|voyageai",
        r" ?(\d|large|code|law|finance|multilingual|multimodal|context|lite|ai)",
        TIERS,
        ("voyage-3-large", "voyage-code-3"),
    ),
    Rule(
        "jina",
        "jina",
        r" (ai|embeddings|embedding|reranker|clip|colbert|deepsearch|v\d|vlm)",
        AFTER,
        ("jina-embeddings-v3",),
    ),
    Rule("meituan", "longcat|long cat", r" (flash|image|video|lite|\d)", AFTER, ("LongCat Flash Chat",)),
    Rule("deepcogito", "cogito", r" v?\d", TIERS, ("Cogito v2.1 671B", "Cogito v1 Preview Qwen 32B"), _OPEN),
    Rule("essentialai", "rnj", r" 1", TIERS, ("Rnj-1 Instruct",)),
    Rule("primeintellect", "intellect", r" [1-5]" + _WHOLE, TIERS, ("INTELLECT-3",)),
    Rule("inflection", "inflection", r" ([1-9](\.\d)?|ai)" + _WHOLE, AFTER, ("Inflection 3 Pi",)),
    Rule(
        "tngtech",
        "deepseek tng|tng",
        r" (deepseek )?r1t",
        AFTER,
        ("TNG R1T Chimera", "DeepSeek TNG R1T2 Chimera"),
        frozenset({"deepseek"}),
    ),
    Rule("baichuan", "baichuan", "", AFTER, ("Baichuan M2 32B", "Baichuan 4 Turbo")),
    Rule("huawei", "pangu", r" ?(pro|ultra|embedded|\d)", TIERS, ("Pangu Pro MoE",)),
    Rule("openbmb", "minicpm", "", TIERS, ("MiniCPM-V 2.6",)),
    Rule("skywork", "skywork", r" ?(r\d|or1|o1|mm|\d)", TIERS, ("Skywork-R1V3", "Skywork OR1 32B")),
    Rule("rednote", "dots", _one_of("ocr llm1 vlm1"), TIERS, ("dots.ocr",)),
    Rule("salesforce", "xlam|xgen|llama xlam", "", TIERS, ("xLAM-2 70B", "Llama-xLAM-2 70B"), frozenset({"meta"})),
    Rule("servicenow", "apriel", "", TIERS, ("Apriel 1.5 15B Thinker",)),
    Rule("poolside", "laguna", _one_of("m.1 xs.2 m xs"), TIERS, ("Laguna XS.2",)),
    Rule("swissai", "apertus", r" \d+b", TIERS, ("Apertus 70B Instruct",)),
    Rule("speakleash", "bielik", "", TIERS, ("Bielik 11B v3.0 Instruct",)),
    Rule("core42", "jais", r" \d+b", TIERS, ("JAIS 30b Chat",)),
    Rule("sdaia", "allam", r" \d", TIERS, ("ALLaM-2-7b",)),
    Rule("yandex", "yandexgpt|yandex gpt", "", AFTER, ("YandexGPT 5 Pro",)),
    Rule("sber", "gigachat", "", AFTER, ("GigaChat 2 Max",)),
    Rule("naver", "hyperclova|hyperclovax", "", AFTER, ("HyperCLOVA X SEED",)),
    Rule("eleutherai", "gpt j|gpt neo|gpt neox|pythia", r" ?\d", TIERS, ("GPT-NeoX 20B", "GPT-J 6B", "Pythia 12B")),
    Rule("alephalpha", "luminous|pharia", r" (base|extended|supreme|1)" + _WHOLE, TIERS, ("Luminous Supreme",)),
    Rule("vercel", "v0", r" [1-9](\.\d)?" + _WHOLE, TIERS, ("v0 1.5 MD",)),
    Rule("morph", "morph", r" v\d", TIERS, ("Morph v3 Fast",)),
    Rule("elevenlabs", "elevenlabs|eleven labs", "", AFTER, ("ElevenLabs v3",)),
    Rule("ideogram", "ideogram", r"( v?\d|$)", TIERS, ("Ideogram v3",)),
    Rule("recraft", "recraft", r" v?\d", TIERS, ("Recraft V3",)),
    Rule("kuaishou", "kling", r" (v?\d|ai)", TIERS, ("Kling 2.1 Master",)),
)

# Other words by which a provider goes, or its families do, beside the families' own rules.
KNOWN_AS: Final = {
    "阿里": "alibaba",
    "阿里云": "alibaba",
    "百度": "baidu",
    "字节跳动": "bytedance",
    "深度求索": "deepseek",
    "月之暗面": "moonshotai",
    "腾讯": "tencent",
    "小米": "xiaomi",
    "智谱": "zhipuai",
    "command": "cohere",
    "cogito": "deepcogito",
    "gemma": "google",
    "granite": "ibm",
    "intellect": "primeintellect",
    "llama": "meta",
    "mistralai": "mistral",
    "prime": "primeintellect",
    "qwen": "alibaba",
    "tng": "tngtech",
    "volcengine": "bytedance",
    "writer": "writer",
} | {rule.provider: rule.provider for rule in RULES}
