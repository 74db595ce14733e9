"""What in a name does not say which model it is: tables of words. Pure.

`names` and `providers` read them; everything that no table takes off makes another model. The rules, with pairs of
names that the tests compare, are in docs/catalogue.md.
"""

from __future__ import annotations

from typing import Final


def _phrases(text: str) -> frozenset[str]:
    return frozenset(
        phrase.strip() for line in text.strip().splitlines() for phrase in line.split(",") if phrase.strip()
    )


def _by_provider(text: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for line in text.strip().splitlines():
        provider, phrases = line.strip().split(": ")
        table |= {phrase.strip(): provider for phrase in phrases.split(",")}
    return table


# Phrases are words in lower case as `spelling.ordered_words` gives them: "Z.ai" is `z ai`.

HOSTS: Final = _phrases(
    """
    302 ai, 302ai, abacus, ai gateway, ai studio, aiand, aihubmix, aiml, aiml api, alphaxiv, amazon bedrock
    amazon sagemaker, anyscale, atlas cloud, atlascloud, atomic chat, auriko, aws, aws bedrock, aws sagemaker, azure
    azure ai, azure ai foundry, azure cognitive services, azure foundry, azure ml, azure openai, azure openai service
    azureai, azureml, baseten, bedrock, bedrock converse, bedrock mantle, berget, cent ml, centml, cerebras, chutes
    clarifai, claudinio, clf ai gateway, cloudferro sherlock, cloudflare, cloudflare workers ai, coralbricks, cortecs
    crofai, crusoe, dashscope, databricks, deep infra, deepinfra, digital ocean, digitalocean, dinference, eden ai
    empiriolabs, evroc, fal, fal ai, fastrouter, featherless, featherless ai, firepass, fireworks, fireworks ai
    foundry, friendli, friendliai, gcp, github, github copilot, github copilot chat, github models, gmi, gmi cloud
    gmicloud, google ai studio, google cloud, google vertex, google vertex ai, google vertex anthropic, gpustack
    gradient ai, groq, groqcloud, helicone, heroku, hf, hf inference, hostinger router, hpc ai, hugging face
    huggingface, hyperbolic, iflow, iflowcn, inference net, inferenceapis, inferencenet, infermatic, io net, jiekou
    kilo, kluster ai, lambda, lambda ai, lepton, libertai, lightning ai, litellm, litellm proxy, llama cpp, llamagate
    llmgateway, lm studio, lmstudio, localai, lucidquery, maas, meganova, mixlayer, moark, model garden, modelscope
    nano gpt, ncompass, near ai, nearai, nebius, nebius ai, neuralwatt, nlp cloud, novita, novita ai, nscale
    nvidia nim, oci, oci generative ai, ollama, ollama cloud, open inference, opencode, opencode go, opencode zen
    openinfer, openinference, openrouter, oracle cloud, oracle oci, orcarouter, ovhcloud, parasail, perplexity agent
    perplexity labs, pinstripes, poe, portkey, predibase, privatemode ai, publicai, qianfan, qihang ai, qiniu
    qiniu ai, qwen ai platform, qwencloud, regolo ai, replicate, requesty, requesty ai, routing run, runpod, sagemaker
    sagemaker jumpstart, sambanova, sap, sap ai core, scaleway, scx ai, siliconflow, snowflake, snowflake cortex
    stackit, targon, tensormesh, text completion openai, text generation inference, tgi, the grid ai, together
    together ai, togetherai, ubicloud, umans ai, venice, vercel, vercel ai gateway, vertex, vertex ai
    vertex ai model garden, vertexai, vivgrid, vllm, volcengine, vultr, wafer ai, wandb, watsonx, workers ai
    workersai, xinference, zenmux, zerogpu
    """
)
"""Who serves models of others, resellers and gateways among them."""

WEAK_HOSTS: Final = _phrases(
    """
    chutes, crusoe, fal, fireworks, foundry, friendli, github, helicone, heroku, hyperbolic, lambda, poe, qianfan
    replicate, sap, snowflake, together, venice, vultr
    """
)
"""Hosts whose word may be part of a model's own name: they only come off as a path, before a colon or in brackets."""

PROVIDERS: Final = _by_provider(
    """
    01-ai: 01 ai, zero one ai
    ai21: ai21, ai21 labs, ai21labs
    alibaba: alibaba, alibaba cloud, alibaba cn, qwen, tongyi, 阿里, 阿里云, 阿里巴巴
    allenai: allenai, allen ai, ai2
    amazon: amazon, amazon nova, nova, aws
    anthropic: anthropic
    arcee: arcee, arcee ai
    baidu: baidu, 百度
    blackforestlabs: black forest labs, bfl
    bytedance: bytedance, bytedance seed, volcengine, 字节跳动, 火山引擎
    cohere: cohere, cohereforai, cohere for ai, coherelabs
    databricks: databricks
    deepcogito: deepcogito, deep cogito
    deepseek: deepseek, deepseek ai, deep seek, 深度求索
    google: google, google deepmind, deepmind, gemini, google gemini, palm, google ai studio, google vertex
    huawei: huawei, 华为
    huggingface: huggingface, hugging face, huggingfacetb
    ibm: ibm, ibm granite, ibm research, watsonx
    inception: inception, inception labs
    inclusionai: inclusionai
    inflection: inflection, inflection ai
    internlm: internlm, opengvlab
    jina: jina, jina ai, jinaai
    kwaipilot: kwaipilot
    lg: lg, lgai exaone, lg ai, lg ai research
    liquid: liquid, liquidai, liquid ai
    meituan: meituan, meituan longcat
    meta: meta, meta llama, facebook, metaai, meta ai
    microsoft: microsoft, azure
    minimax: minimax, minimaxai, 稀宇
    mistral: mistral, mistralai, mistral ai
    moonshotai: moonshot, moonshotai, moonshot ai, kimi, 月之暗面
    morph: morph
    nousresearch: nous, nousresearch, nous research
    nvidia: nvidia, nvidia nim
    openai: openai, open ai, azure openai, text completion openai
    perplexity: perplexity, perplexity ai
    primeintellect: prime intellect, primeintellect
    reka: reka, rekaai, reka ai
    salesforce: salesforce
    sarvam: sarvam, sarvamai
    servicenow: servicenow, servicenow ai
    snowflake: snowflake
    stabilityai: stability, stabilityai, stability ai
    stepfun: stepfun, stepfun ai, 阶跃星辰
    swissai: swiss ai, swissai
    tencent: tencent, 腾讯, 腾讯云
    tiiuae: tii, tiiuae
    tngtech: tng, tngtech
    upstage: upstage
    vercel: vercel
    voyage: voyage, voyageai, voyage ai
    writer: writer
    xai: xai, x ai
    xiaomi: xiaomi, xiaomimimo, xiaomi mimo, 小米
    zhipuai: zhipu, zhipuai, zhipu ai, zai, z ai, zai org, thudm, bigmodel, 智谱, 智谱ai, 智谱清言
    """
)
"""By which words a provider stands before its model. They come off where what is left still tells that provider."""

HOSTING_PROVIDERS: Final = _phrases("alibaba, amazon, google, ibm, microsoft, nvidia, perplexity")
"""Providers that also serve models of others: their word comes off before any provider's model."""

GROUPS: Final = _phrases(
    """
    model, models, publisher, publishers, foundation-model, foundation-models, inference-profile, deployment
    deployments, endpoints, endpoint, engines, @cf, @hf, route, routers, workers-ai, global-standard, data-zone-standard
    datazone-standard, standard, provisioned, claude_platform, claude-platform, serverless, hub, chat_models, converse
    invoke
    """
)
"""Parts of a path that only say what follows."""

NAMED_GROUPS: Final = _phrases(
    """
    accounts, location, locations, organisations, organizations, project, projects, subscriptions
    """
)
"""Parts of a path that are followed by somebody's own name, which says nothing of the model either."""

REGIONS: Final = _phrases(
    """
    apac, asia pacific, au, ca, data zone, emea, eu, eu data zone, europe, global, global standard, jp, uk, us
    us data zone, us gov, us-gov
    """
)
"""Where a model runs; beside the regions of clouds, which `REGION` describes."""

REGION: Final = (
    r"(us|eu|ap|ca|sa|me|af|il|mx|cn|uk|asia|europe|northamerica|southamerica|australia|africa)([- ]gov)?[- ]"
    r"(north|south|east|west|central|northeast|northwest|southeast|southwest)[- ]?\d{0,2}"
    r"|(east|west|north|south|central|southcentral|northcentral|westcentral|southeast|east |west |north |south )"
    r"(us|europe|asia|uk|india)\d?"
    r"|(sweden|france|germany|switzerland|norway|uae|japan|korea|australia|canada|brazil|spain|poland|italy)[- ]?"
    r"(west )?(central|north|south|east|west)"
)
"""A region of a cloud: "us-east-1", "europe-west4", "swedencentral"; spaces where a name has them."""

REGION_ENDS: Final = _phrases(
    """
    af, africa, ap, asia, australia, australiaeast, brazil, canada, canadaeast, central, cn, east, eastus, eastus2
    france, francecentral, germany, il, italy, japan, japaneast, korea, me, mx, north, northcentralus, northeurope
    norway, poland, sa, south, southcentralus, spain, sweden, swedencentral, switzerland, switzerlandnorth, uae, uksouth
    west, westeurope, westus, westus2, westus3
    """
)
"""The words that such a region begins or ends with, where it stands beside a name without brackets."""

LIFECYCLE: Final = _phrases(
    """
    legacy, deprecated, deprecating, deprecation, retired, retiring, retires, retirement, sunset, sunsetting
    discontinued, obsolete, unsupported, phasing, phased, eol, eos, ending, ends, ended, removed, removing, shutdown
    shutting
    """
)
"""What says how long a model still lives. In brackets, or set apart by a dash or comma, with a date or without."""

LIFECYCLE_UNDATED: Final = _phrases("legacy, obsolete, unsupported")
"""Those of them beside which a date is the model's own: "(Legacy, 2024-05-13)"."""

LIFECYCLE_ANYWHERE: Final = _phrases("legacy, deprecated, retired, retiring, retires, discontinued, obsolete")
"""Those of them that also come off as the first or last words of a name."""

LIFECYCLE_FILLERS: Final = _phrases(
    """
    soon, on, in, at, by, from, since, after, until, to, be, will, is, being, as, of, the, end, life, support, date
    planned, scheduled, effective, early, mid, late, down, out, q1, q2, q3, q4, month, year, next, this, and, for, now
    not, no, longer, supported, available, recommended
    """
)

SUCCESSION: Final = _phrases("use, replaced, superseded, migrate, switch, instead, see, please")
"""What turns all that follows an end of life into advice: "(deprecated, use GPT-4.1)"."""

LABELS: Final = _phrases(
    """
    new, free, batch, default, recommended, popular, stable, ga, self moderated, available, unavailable, disabled
    temporarily unavailable, maintenance, under maintenance, coming soon, end of life, end of support, soon retired
    going away, going away soon, until further notice, hosted, no longer supported, no longer available
    """
)
"""What says of a model's standing, price or place in a list, and not which it is: in brackets, or set apart."""

LABELS_BESIDE: Final = _phrases("new, free")
"""Those of them that also come off as a first or last word, where what is left tells a provider."""

SUFFIXES: Final = _phrases("free, batch, beta, nitro, floor, exacto")
"""After a colon without a space, as routers write them ("…:free"): how a call is routed and paid."""

SERVED_BY: Final = _phrases(
    """
    at, by, from, hosted by, hosted on, in, on, powered by, provided by, running on, served by, through, via
    """
)
