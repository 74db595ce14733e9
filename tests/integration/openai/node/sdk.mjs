// What OpenAI's SDK for Node makes of this API: `node sdk.mjs SCENARIO BASE_URL`, an object as JSON on standard output.
import OpenAI from "openai";

const [scenario, baseURL, given] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "anything" });
const messages = [{ role: "user", content: "Which?" }];
const ask = (more, options) => client.chat.completions.create({ model: "gpt-4o", messages, ...more }, options);

const scenarios = {
  async list() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: await client.models.retrieve("gpt-4o") };
  },

  async ask() {
    const { data, response, request_id } = await ask({ temperature: 0.5 }).withResponse();
    const headers = ["x-llm-refresh-chat-id", "x-llm-refresh-ignored"].map((name) => response.headers.get(name));
    return { completion: data, headers, request_id };
  },

  async fallback() {
    const { data, response } = await ask({ model: "gpt-9", models: ["gpt-9", "gpt-4o"] }).withResponse();
    return { model: data.model, reason: response.headers.get("x-llm-refresh-fallback-reason") };
  },

  async stream() {
    const chunks = [];
    for await (const chunk of await ask({ stream: true })) chunks.push(chunk.choices[0]);
    return { chunks };
  },

  async helper() {
    const stream = client.chat.completions.stream({ model: "gpt-4o", messages });
    const completion = await stream.finalChatCompletion();
    return { content: completion.choices[0].message.content, finish_reason: completion.choices[0].finish_reason };
  },

  async errors() {
    const bodies = [{ model: "gpt-9" }, { n: 2 }, { messages: [] }];
    const raised = [];
    for (const body of bodies) {
      await ask(body).then(
        () => raised.push(null),
        (error) => raised.push([error.constructor.name, error.status, error.code, error.param, error.type]),
      );
    }
    return { raised };
  },

  async limits() {
    const names = ["limit", "remaining", "reset"].map((name) => `x-ratelimit-${name}-requests`);
    const read = (headers) => names.map((name) => headers.get(name));
    const error = await ask({}, { maxRetries: 0 }).catch((raised) => raised);
    const refused = [error instanceof OpenAI.RateLimitError, error.status, error.code, error.type];
    const attempts = [];
    const traced = async (url, init) => {
      const sent = { at: Date.now(), count: new Headers(init.headers).get("x-stainless-retry-count") };
      const response = await fetch(url, init);
      attempts.push({ ...sent, status: response.status, answered: Date.now(), after: response.headers.get("retry-after") });
      if (response.status === 429) await fetch(new URL(`/api/chats/${given}`, baseURL), { method: "DELETE" });
      return response;
    };
    const patient = new OpenAI({ baseURL, apiKey: "anything", fetch: traced });
    const { data, response } = await patient.chat.completions.create({ model: "gpt-4o", messages }).withResponse();
    return {
      refused,
      refused_headers: read(error.headers),
      attempts: attempts.map(({ status, count }) => [status, count]),
      asked_for_ms: Number(attempts[0].after) * 1000,
      waited_ms: attempts[1].at - attempts[0].answered,
      content: data.choices[0].message.content,
      headers: read(response.headers),
    };
  },

  async usage() {
    const more = { stream: true, stream_options: { include_usage: true } };
    const { data, response } = await ask(more).withResponse();
    const chunks = [];
    for await (const chunk of data) chunks.push(chunk);
    const gathered = await client.chat.completions.stream({ model: "gpt-4o", messages, ...more }).finalChatCompletion();
    return {
      choices: chunks.map((chunk) => chunk.choices.length),
      usages: chunks.filter((chunk) => chunk.usage).length,
      ignored: response.headers.get("x-llm-refresh-ignored"),
      content: gathered.choices[0].message.content,
      usage: gathered.usage ?? null,
    };
  },

  async failure() {
    const raised = {};
    await ask().catch((error) => (raised.asked = [error.constructor.name, error.status, error.code]));
    try {
      for await (const chunk of await ask({ stream: true })) raised.last = chunk.choices[0].delta;
    } catch (error) {
      raised.streamed = [error instanceof OpenAI.APIError, error.code];
    }
    return raised;
  },

  async responses() {
    let response = await client.responses.create({ model: "gpt-4o", input: "Which?", background: true });
    const { id, status } = response;
    while (["queued", "in_progress"].includes(response.status)) {
      await new Promise((done) => setTimeout(done, 200));
      response = await client.responses.retrieve(id);
    }
    const types = [];
    for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: 1 })) types.push(event.type);
    const next = await client.responses.create({ model: "gpt-4o", input: "And?", previous_response_id: id });
    const items = [];
    for await (const item of client.responses.inputItems.list(next.id)) items.push(item.content[0].text);
    await client.responses.delete(id);
    const gone = await client.responses.retrieve(id).catch((error) => error.constructor.name);
    return { status, text: response.output_text, types, next: next.previous_response_id === id, items, gone };
  },

  async unwrap() {
    const { body, headers, secret } = JSON.parse(given);
    const event = await client.webhooks.unwrap(body, headers, secret);
    const other = `whsec_${Buffer.alloc(32).toString("base64")}`;
    const refused = await client.webhooks.unwrap(body, headers, other).catch((error) => error.constructor.name);
    return { event, refused };
  },

  async resend() {
    const completion = await ask({}, { timeout: 1500, maxRetries: 5 });
    return { content: completion.choices[0].message.content };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
