// Calls, lists and uploads on their bad days.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { createPostern, PosternError } from "postern-client";
import { GATEWAY, aPost, newLine, newUser, noting, pdf } from "./stack.mjs";

test("a call returns data or error, and never throws", async () => {
  const pc = createPostern({ baseUrl: GATEWAY });
  const good = await pc.GET("/api/hello");
  assert.equal(good.error, undefined);
  assert.ok(good.data.data.message);
  const bad = await pc.GET("/api/posts", { params: { query: { limit: 1000 } } });
  assert.equal(bad.error.code, "VALIDATION_ERROR");
  assert.ok(bad.error.errors.limit);
  const head = await pc.HEAD("/api/files/by-id/{id}", { params: { path: { id: "nothing" } } });
  assert.equal(head.error.code, "NOT_FOUND");
  const away = createPostern({ baseUrl: "http://127.0.0.1:9", retry: { tries: 0 } });
  const { error, response } = await away.GET("/api/hello");
  assert.deepEqual([error.code, error.status, response.ok], ["NETWORK_ERROR", 0, false]);
});

test("ok returns the thing, or throws what can be told apart", async () => {
  const pc = await newUser();
  const post = await pc.ok(pc.POST("/api/posts", { body: aPost("Returned by ok") }));
  assert.equal(post.title, "Returned by ok");
  assert.equal(await pc.ok(pc.DELETE("/api/posts/{id}", { params: { path: { id: post.id } } })), undefined);
  const refused = pc.ok(pc.GET("/api/posts/{id}", { params: { path: { id: post.id } } }));
  await assert.rejects(refused, (error) => error instanceof PosternError && error.is("NOT_FOUND") && !error.is("FORBIDDEN"));
});

test("a page of HTML from a proxy in front is a BAD_GATEWAY", async (t) => {
  const proxy = createServer((_, answer) => answer.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad</h1>"));
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => proxy.close());
  const pc = createPostern({ baseUrl: `http://127.0.0.1:${proxy.address().port}`, retry: { tries: 0 } });
  assert.equal((await pc.GET("/api/posts")).error.code, "BAD_GATEWAY");
  await assert.rejects(pc.ok(pc.GET("/api/posts")), (error) => error.is("BAD_GATEWAY") && error.status === 502);
});

test("an answer of 200 that is no JSON is a BAD_GATEWAY too", async () => {
  const pc = createPostern({ baseUrl: GATEWAY, fetch: () => Promise.resolve(new Response("<h1>Sign in to the Wi-Fi</h1>")) });
  assert.equal((await pc.GET("/api/posts")).error.code, "BAD_GATEWAY");
});

test("what may be repeated is sent again, as late as the server says; what may not is not", async () => {
  const away = () => Promise.resolve(new Response(null, { status: 503, headers: { "Retry-After": "1" } }));
  const count = async (call, answer = away) => {
    const send = noting(answer);
    const started = performance.now();
    await call(createPostern({ baseUrl: GATEWAY, fetch: send, retry: { tries: 2 } }));
    return [send.sent.length, Math.floor((performance.now() - started) / 1000)];
  };
  const post = { title: "t", content: "c" };
  assert.deepEqual(await count((pc) => pc.GET("/api/posts")), [3, 2]);
  assert.deepEqual(await count((pc) => pc.POST("/api/posts", { body: post })), [1, 0]);
  assert.deepEqual(await count((pc) => pc.PATCH("/api/posts/{id}", { params: { path: { id: "x" } }, body: post })), [1, 0]);
  const limited = () => Promise.resolve(new Response(null, { status: 429, headers: { "Retry-After": "1" } }));
  assert.deepEqual(await count((pc) => pc.GET("/api/posts"), limited), [1, 0]);
  const late = () => Promise.resolve(new Response(null, { status: 503, headers: { "Retry-After": "31" } }));
  assert.deepEqual(await count((pc) => pc.GET("/api/posts"), late), [1, 0]);
  const send = noting((_path, _request, sent) => (sent.length <= 2 ? away() : Promise.resolve(new Response(null, { status: 204 }))));
  await createPostern({ baseUrl: GATEWAY, fetch: send }).POST("/api/posts", { body: post, idempotent: true });
  const keys = new Set(send.sent.map(({ request }) => request.headers.get("Idempotency-Key")));
  assert.deepEqual([send.sent.length, keys.size, [...keys][0].length], [3, 1, 32]);
});

test("a gateway that dies while an idempotent POST is under way makes one post", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const send = noting();
  const pc = await newUser({ baseUrl: line.url, fetch: send, retry: { tries: 6 } });
  let armed = true;
  line.onAnswer = (client) => {
    if (!armed) return false;
    armed = false; // the post is written, and its answer gets lost
    process.kill(Number(process.env.GATEWAY_PID), "SIGKILL");
    client.destroy();
    return true;
  };
  const { data, response } = await pc.POST("/api/posts", { body: aPost("Written while dying"), idempotent: true });
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("Idempotency-Replayed"), "true");
  assert.ok(send.of("/api/posts").length > 1);
  const found = [];
  for await (const post of pc.each("/api/posts", { author: data.data.author.id })) found.push(post.id);
  assert.deepEqual(found, [data.data.id]);
});

test("each reads a list to its end by cursor", async () => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  const titles = Array.from({ length: 7 }, (_, number) => `Page by page ${number}`);
  for (const title of titles) await pc.ok(pc.POST("/api/posts", { body: aPost(title) }));
  send.sent.length = 0;
  const found = [];
  for await (const post of pc.each("/api/posts", { author: pc.auth.user.id, limit: 3, sort: "oldest" })) found.push(post.title);
  assert.deepEqual(found, titles);
  const places = send.sent.map(({ request }) => new URL(request.url).searchParams.has("cursor"));
  assert.deepEqual(places, [false, true, true]);
  const post = (await pc.ok(pc.GET("/api/posts", { params: { query: { author: pc.auth.user.id, limit: 1 } } })))[0];
  const comment = { body: { content: "Yes." }, params: { path: { id: post.id } } };
  await pc.ok(pc.POST("/api/posts/{id}/comments", comment));
  const comments = await Array.fromAsync?.(pc.each("/api/posts/{id}/comments", {}, { path: { id: post.id } }));
  if (comments) assert.equal(comments[0].content, "Yes.");
});

test("a path parameter cannot lead elsewhere, and the rest of a path keeps its slashes", async () => {
  const send = noting(() => Promise.resolve(new Response(null, { status: 204 })));
  const pc = createPostern({ baseUrl: GATEWAY, fetch: send });
  await pc.DELETE("/api/files/{userId}/{path}", { params: { path: { userId: "a/b", path: "c d/ä.png" } } });
  assert.equal(send.sent[0].path, "/api/files/a%2Fb/c%20d/%C3%A4.png");
  for (const id of ["..", ".", ""]) {
    await assert.rejects(pc.GET("/api/posts/{id}", { params: { path: { id } } }), TypeError);
  }
});

test("a small file is sent in one request, a large one in parts, both with progress", async () => {
  for (const [size, requests] of [[1000, 1], [6_000_000, 5]]) {
    const send = noting();
    const pc = await newUser({ fetch: send });
    send.sent.length = 0;
    const progress = [];
    const file = pdf(size);
    const upload = await pc.upload(file, { private: true, onProgress: (sent, total) => progress.push(sent / total) });
    assert.deepEqual([upload.filename, upload.size, upload.private], ["ä report.pdf", file.size, true]);
    assert.equal(send.sent.length, requests, JSON.stringify(send.sent.map(({ method, path, status }) => [method, path, status])));
    assert.deepEqual([progress[0], progress.at(-1)], [0, 1]);
    assert.deepEqual(progress, [...progress].sort((a, b) => a - b));
  }
});

test("a large file goes on where a broken line left it", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const pc = await newUser({ baseUrl: line.url });
  const file = pdf(9_000_000);
  const parts = [];
  let cuts = 2;
  line.onAnswer = (client, _upstream, data) => {
    if (!data.includes("Upload-Offset") || data.includes("HTTP/1.1 201") || !cuts) return false;
    cuts -= 1;
    client.destroy();
    return true;
  };
  const upload = await pc.upload(file, { onProgress: (sent) => parts.push(sent) });
  assert.equal(cuts, 0);
  assert.equal(upload.size, file.size);
  assert.equal(new Set(parts).size, parts.length);
});

test("a file that is refused says why, and is not tried again", async () => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  const refused = pc.upload(new Blob(["no picture"]), { name: "a.png" });
  await assert.rejects(refused, (error) => error.is("UNSUPPORTED_MEDIA_TYPE"));
  assert.equal(send.of("/api/upload").length, 1);
});
