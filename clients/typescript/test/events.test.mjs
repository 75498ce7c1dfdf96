// Live events: what is missed comes, in order and once, whatever happened to the line.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createPostern } from "postern-client";
import { parse } from "../dist/events.js";
import { GATEWAY, aPost, newLine, newUser, sleep, until } from "./stack.mjs";

const publish = async (pc, count, name) => {
  const ids = [];
  for (let number = 0; number < count; number++) {
    ids.push((await pc.ok(pc.POST("/api/posts", { body: aPost(`${name} ${number}`) }))).id);
  }
  return ids;
};

/** Listen until the signal; what is heard is in `events`, and what `events()` threw in `error`. */
function listen(pc, options) {
  const leaving = new AbortController();
  const heard = { events: [], states: [], error: undefined, stop: () => (leaving.abort(), heard.done) };
  const run = async () => {
    const onState = (state) => heard.states.push(state);
    for await (const event of pc.events({ ...options, onState, signal: leaving.signal })) heard.events.push(event);
  };
  heard.done = run().catch((error) => (heard.error = error));
  return heard;
}

const subjects = (heard) => heard.events.map(({ data }) => data.id);

test("a laptop that sleeps with a stream open reconnects once, and hears all in order, each once", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const writer = await newUser();
  const heard = listen(createPostern({ baseUrl: line.url }), { topics: ["post.published"], silence: 2000 });
  await until(() => heard.states.includes(true));
  const before = await publish(writer, 2, "Before sleep");
  await until(() => heard.events.length === 2);
  const connections = line.connections;
  line.frozen = true;
  const missed = await publish(writer, 5, "Asleep");
  await sleep(1500);
  line.frozen = false;
  await until(() => heard.events.length === 7);
  const after = await publish(writer, 1, "Awake");
  await until(() => heard.events.length === 8);
  await heard.stop();
  assert.deepEqual(subjects(heard), [...before, ...missed, ...after]);
  assert.equal(line.connections - connections, 1);
});

test("what is missed comes soon after the line is back", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const writer = await newUser();
  const heard = listen(createPostern({ baseUrl: line.url }), { topics: ["post.published"] });
  await until(() => heard.states.includes(true));
  for (const pair of line.lines) for (const end of pair) end.destroy();
  await until(() => heard.states.at(-1) === false);
  const cut = performance.now();
  const [missed] = await publish(writer, 1, "Missed");
  await until(() => heard.states.at(-1) === true);
  const back = performance.now();
  await until(() => heard.events.length === 1);
  t.diagnostic(`from reconnect to the missed event: ${(performance.now() - back).toFixed(0)} ms; away for ${(back - cut).toFixed(0)} ms`);
  assert.ok(performance.now() - back < 1000);
  assert.deepEqual(subjects(heard), [missed]);
  await heard.stop();
});

test("what is too old to know is one resync, also after another reconnect", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const heard = listen(createPostern({ baseUrl: line.url }), { lastEventId: "999999999999" });
  await until(() => heard.events.length === 1);
  for (const pair of line.lines) for (const end of pair) end.destroy();
  await until(() => heard.states.filter(Boolean).length === 2);
  await sleep(200);
  await heard.stop();
  assert.deepEqual(heard.events.map(({ event }) => event), ["resync"]);
});

test("notifications come to their owner, across renewed tokens", async () => {
  const author = await newUser();
  const reader = await newUser();
  const heard = listen(author, { topics: ["notification"] });
  await until(() => heard.states.includes(true));
  await sleep(Number(process.env.TOKEN_SECONDS) * 1000 + 1100);
  const [id] = await publish(author, 1, "To be liked");
  await reader.ok(reader.POST("/api/posts/{id}/comments", { params: { path: { id } }, body: { content: "Good." } }));
  await until(() => heard.events.some(({ data }) => data.type === "comment"));
  assert.ok(heard.states.filter(Boolean).length > 1);
  await heard.stop();
});

test("an error that stays ends the loop with that error", async () => {
  const heard = listen(createPostern({ baseUrl: GATEWAY }), { topics: ["notification"] });
  await until(() => heard.error);
  assert.ok(heard.error.is("UNAUTHORIZED"));
});

test("who leaves the loop closes the connection", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const pc = createPostern({ baseUrl: line.url });
  for await (const event of pc.events({ lastEventId: "999999999999" })) {
    assert.equal(event.event, "resync");
    break;
  }
  await until(() => [...line.lines].every(([client]) => client.destroyed || client.readableEnded));
});

test("a stream is read as the standard says, however it is cut", async () => {
  const text = "\ufeffretry: 7\n\nid: 1\nevent: a\ndata: x\ndata:y\n\n: comment\ndata\r\n\r\nevent: none\n\nid: 2\rdata: ä\r\rdata: unfinished\n";
  const expected = [
    { id: "1", event: "a", data: "x\ny" },
    { id: "1", event: "message", data: "" },
    { id: "2", event: "message", data: "ä" },
  ];
  for (const size of [1, 2, 3, 1000]) {
    const bytes = new TextEncoder().encode(text);
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const found = [];
    let retry;
    for await (const event of parse(body, undefined, (milliseconds) => (retry = milliseconds))) found.push(event);
    assert.deepEqual(found, expected);
    assert.equal(retry, 7);
  }
});
