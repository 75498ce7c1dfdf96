// The adapter for Next.js behind a bare HTTP server, as a route handler is behind Next's own.
import assert from "node:assert/strict";
import { createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { test } from "node:test";
import { createPostern } from "postern-client";
import { forwarded, handler } from "postern-client/next";
import { GATEWAY, PASSWORD, credentials, newLine, noting, pdf, sleep, until } from "./stack.mjs";

const listening = (server) =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));

/** Serve the handlers as Next.js does: web requests in, web answers out, both as streams. */
async function serve(t, options) {
  const handlers = handler(options);
  const server = createServer(async (message, answer) => {
    const leaving = new AbortController();
    answer.on("close", () => leaving.abort());
    const hasBody = !["GET", "HEAD"].includes(message.method);
    const request = new Request(new URL(message.url, "http://app.example"), {
      method: message.method,
      headers: message.headers,
      signal: leaving.signal,
      ...(hasBody && { body: Readable.toWeb(message), duplex: "half" }),
    });
    const response = await handlers[message.method](request);
    const headers = [...response.headers].flatMap(([name, value]) => [name, value]);
    answer.writeHead(response.status, headers);
    answer.flushHeaders();
    if (response.body) Readable.fromWeb(response.body).on("error", () => answer.destroy()).pipe(answer);
    else answer.end();
  });
  t.after(() => (server.closeAllConnections(), server.close()));
  return listening(server);
}

test("every cookie, ETags, ranges and request ids pass", async (t) => {
  const app = await serve(t, { gateway: GATEWAY });
  const account = credentials();
  const author = createPostern({ baseUrl: app });
  await author.ok(author.auth.register(account));
  const login = await fetch(`${app}/api/auth/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Request-ID": "of-the-test" },
    body: JSON.stringify({ email: account.email, password: PASSWORD, cookieOnly: true }),
  });
  assert.equal(login.headers.get("X-Request-ID"), "of-the-test");
  const names = login.headers.getSetCookie().map((line) => line.split("=")[0]);
  assert.deepEqual(names.sort(), ["authToken", "csrfToken", "device", "refreshToken"]);
  const body = { title: "Behind Next", content: "Some words to read.", status: "published" };
  const post = await author.ok(author.POST("/api/posts", { body }));
  const read = await fetch(`${app}/api/posts/${post.id}`);
  const etag = read.headers.get("ETag");
  await read.text();
  const again = await fetch(`${app}/api/posts/${post.id}`, { headers: { "If-None-Match": etag } });
  assert.equal(again.status, 304);
  const file = await author.upload(pdf(1000));
  const part = await fetch(app + new URL(file.url, app).pathname, { headers: { Range: "bytes=0-3" } });
  assert.deepEqual([part.status, await part.text()], [206, "%PDF"]);
});

test("an event arrives within a second, and who leaves ends the request at the gateway", async (t) => {
  const line = await newLine();
  t.after(line.close);
  const app = await serve(t, { gateway: line.url });
  const started = performance.now();
  const leaving = new AbortController();
  const answer = await fetch(`${app}/api/events`, { signal: leaving.signal });
  const { value } = await answer.body.getReader().read();
  assert.match(new TextDecoder().decode(value), /connected/);
  assert.ok(performance.now() - started < 1000);
  leaving.abort();
  await until(() => [...line.lines].every(([client]) => client.destroyed || client.readableEnded), 5000);
});

test("a body goes to the gateway while it comes", async (t) => {
  let arrived = 0;
  const gateway = createServer((message, answer) => {
    message.on("data", (data) => (arrived += data.length));
    message.on("end", () => answer.end(JSON.stringify({ arrived })));
  });
  t.after(() => gateway.close());
  const app = new URL(await serve(t, { gateway: await listening(gateway) }));
  const sending = httpRequest({ port: app.port, host: app.hostname, method: "PATCH", path: "/api/uploads/tus/x" });
  const answer = new Promise((resolve) => sending.on("response", resolve));
  sending.write(Buffer.alloc(100_000));
  await until(() => arrived === 100_000, 5000);
  sending.end(Buffer.alloc(5));
  const chunks = await (await answer).toArray();
  assert.deepEqual(JSON.parse(Buffer.concat(chunks)), { arrived: 100_005 });
});

/** Send a request line as it is, which `fetch` would tidy up. */
async function raw(url, target) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n`);
  return Buffer.concat(await socket.toArray()).toString();
}

test("nothing but the API can be reached", async (t) => {
  const asked = [];
  const gateway = createServer((message, answer) => answer.end(String(asked.push(message.url))));
  t.after(() => gateway.close());
  const app = await serve(t, { gateway: await listening(gateway) });
  const outside = ["/internal/feed", "/metrics", "/api/../metrics", "/api/%2e%2e/metrics", "/api/%2E%2E%2fmetrics", "/apis", "//other.example/x", "/api//other.example"];
  for (const target of outside) {
    const answer = await raw(app, target);
    assert.match(answer, /^HTTP\/1.1 404 /, target);
    assert.match(answer, /"code":"NOT_FOUND"/);
  }
  assert.deepEqual(asked, []);
  await raw(app, "/api/posts?q=a%2Fb");
  await raw(app, "//other.example/api/posts"); // the path of an address: its host counts for nothing
  assert.deepEqual(asked, ["/api/posts?q=a%2Fb", "/api/posts"]);
});

test("the browser's address is what the trusted proxy saw, and nothing that was forged", async (t) => {
  const gateway = createServer((message, answer) => answer.end(JSON.stringify(message.headers)));
  t.after(() => gateway.close());
  const url = await listening(gateway);
  const seen = async (options, forwardedFor) => {
    const app = await serve(t, { gateway: url, ...options });
    const headers = { "X-Forwarded-For": forwardedFor, "X-Forwarded-Host": "evil.example", Forwarded: "for=6.6.6.6" };
    return (await fetch(`${app}/api/hello`, { headers })).json();
  };
  const direct = await seen({}, "6.6.6.6");
  assert.deepEqual([direct["x-forwarded-for"], direct.forwarded], [undefined, undefined]);
  assert.notEqual(direct["x-forwarded-host"], "evil.example");
  assert.equal((await seen({ trustProxy: 1 }, "6.6.6.6, 203.0.113.7"))["x-forwarded-for"], "203.0.113.7");
  assert.equal((await seen({ trustProxy: 2 }, "6.6.6.6, 203.0.113.7, 10.0.0.1"))["x-forwarded-for"], "203.0.113.7");
  assert.equal((await seen({ address: () => "203.0.113.9" }, "6.6.6.6"))["x-forwarded-for"], "203.0.113.9");
});

test("a gateway that is away is a 502, and one that hangs a 504", async (t) => {
  const away = await serve(t, { gateway: "http://127.0.0.1:9" });
  assert.equal((await createPostern({ baseUrl: away, retry: { tries: 0 } }).GET("/api/hello")).error.code, "BAD_GATEWAY");
  const hanging = createServer(() => undefined);
  t.after(() => (hanging.closeAllConnections(), hanging.close()));
  const slow = await serve(t, { gateway: await listening(hanging), timeout: 200 });
  const pc = createPostern({ baseUrl: slow, retry: { tries: 0 } });
  assert.equal((await pc.GET("/api/hello")).error.code, "GATEWAY_TIMEOUT");
  assert.equal((await pc.POST("/api/hello", { body: { a: 1 } })).error.code, "GATEWAY_TIMEOUT");
});

test("a server component reads as the user, and renews nothing", async () => {
  const account = credentials();
  const user = createPostern({ baseUrl: GATEWAY });
  await user.ok(user.auth.register(account));
  const login = await fetch(`${GATEWAY}/api/auth/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email: account.email, password: PASSWORD, cookieOnly: true }),
  });
  const jar = new Map(login.headers.getSetCookie().map((line) => line.split(";")[0].split(/=(.*)/s)));
  const cookies = { get: (name) => (jar.has(name) ? { name, value: jar.get(name) } : undefined) };
  const headers = new Headers({ "X-Forwarded-For": "6.6.6.6, 203.0.113.7" });
  const given = forwarded(cookies, headers, { trustProxy: 1 });
  assert.deepEqual(Object.keys(given.headers), ["Cookie", "X-Forwarded-For"]);
  assert.equal(given.headers["X-Forwarded-For"], "203.0.113.7");
  const send = noting();
  const pc = createPostern({ baseUrl: GATEWAY, fetch: send, ...given });
  assert.equal((await pc.ok(pc.GET("/api/auth/me"))).email, account.email);
  await sleep(Number(process.env.TOKEN_SECONDS) * 1000 + 1100);
  assert.equal((await pc.GET("/api/auth/me")).error.code, "TOKEN_EXPIRED");
  assert.equal((await pc.GET("/api/posts")).response.status, 200);
  assert.deepEqual(send.sent.map(({ path }) => path), ["/api/auth/me", "/api/auth/me", "/api/posts"]);
  const stranger = createPostern({ baseUrl: GATEWAY, ...forwarded({ get: () => undefined }) });
  assert.equal((await stranger.GET("/api/auth/me")).error.code, "UNAUTHORIZED");
});
