// Sessions on their bad days, against a stack whose access tokens live for TOKEN_SECONDS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createPostern } from "postern-client";
import { GATEWAY, credentials, newUser, noting, sharedStore, sleep, until } from "./stack.mjs";

const EXPIRED = Number(process.env.TOKEN_SECONDS) * 1000 + 1100; // tokens count whole seconds
const REFRESH = "/api/auth/refresh";
const me = (pc) => pc.GET("/api/auth/me");

test("40 requests with an expired token renew it once, and no caller sees a 401", async () => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  await sleep(EXPIRED);
  const outcomes = await Promise.all(Array.from({ length: 40 }, () => me(pc)));
  assert.deepEqual(new Set(outcomes.map(({ response }) => response.status)), new Set([200]));
  assert.equal(send.of(REFRESH).length, 1);
  assert.equal(send.sent.filter(({ status }) => status === 401).length, 0);
});

test("a token is renewed before it ends", async () => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  await sleep(EXPIRED - 1100 - 200);
  assert.equal((await me(pc)).response.status, 200);
  assert.equal(send.of(REFRESH).length, 1);
  await me(pc);
  assert.equal(send.of(REFRESH).length, 1);
});

test("tabs whose lock is never given renew without it after 5 seconds, and all go on", async (t) => {
  const locks = {
    request: (_name, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  };
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  t.after(() => delete globalThis.navigator);
  const store = sharedStore();
  const sends = [noting(), noting()];
  const tabs = sends.map((send) => createPostern({ baseUrl: GATEWAY, store, fetch: send }));
  await tabs[0].ok(tabs[0].auth.register(credentials()));
  const begun = store.get().refreshToken;
  await sleep(EXPIRED);
  const started = performance.now();
  const outcomes = await Promise.all(tabs.map(me));
  assert.ok(performance.now() - started > 4900);
  assert.deepEqual(outcomes.map(({ response }) => response.status), [200, 200]);
  const answers = await Promise.all(sends.flatMap((send) => send.of(REFRESH)).map(({ status }) => status));
  assert.deepEqual(answers, [200, 200]);
  assert.notEqual(store.get().refreshToken, begun);
  assert.equal((await me(tabs[1])).response.status, 200);
});

for (const [day, answer, code] of [
  ["503", () => Promise.resolve(Response.json({ code: "SERVICE_UNAVAILABLE", status: 503 }, { status: 503 })), "SERVICE_UNAVAILABLE"],
  ["429", () => Promise.resolve(Response.json({ code: "RATE_LIMITED", status: 429 }, { status: 429 })), "RATE_LIMITED"],
  ["a line that drops", () => Promise.reject(new TypeError("fetch failed")), "NETWORK_ERROR"],
]) {
  test(`a renewal that ends with ${day} is an error of the call, and the session goes on`, async () => {
    let bad = true;
    let signedOut = 0;
    const send = noting((path) => (bad && path === REFRESH ? answer() : undefined));
    const pc = await newUser({ fetch: send, onSignedOut: () => signedOut++ });
    await sleep(EXPIRED);
    const { error } = await me(pc);
    assert.equal(error.code, code);
    assert.ok(pc.auth.user);
    bad = false;
    assert.equal((await me(pc)).response.status, 200);
    assert.equal(signedOut, 0);
  });
}

test("a family that a thief has ended signs out once, with the reason, and asks no more", async () => {
  const reasons = [];
  const send = noting();
  const store = sharedStore();
  const pc = await newUser({ fetch: send, store, onSignedOut: (reason) => reasons.push(reason) });
  let stolen = store.get().refreshToken;
  for (let turn = 0; turn < 2; turn++) {
    const answer = await fetch(GATEWAY + REFRESH, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refreshToken: stolen }),
    });
    stolen = (await answer.json()).data.refreshToken;
  }
  await sleep(EXPIRED);
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => me(pc)));
  assert.deepEqual(new Set(outcomes.map(({ error }) => error.status)), new Set([401]));
  await sleep(50);
  assert.deepEqual(reasons, ["TOKEN_REVOKED"]);
  assert.equal(store.get(), null);
  assert.equal(pc.auth.user, null);
  await me(pc);
  assert.equal(send.of(REFRESH).length, 1);
});

for (const hours of [-1, 1]) {
  test(`a clock that is wrong by ${hours} h does no harm`, async (t) => {
    const now = Date.now;
    Date.now = () => now() + hours * 3_600_000;
    t.after(() => (Date.now = now));
    const send = noting();
    const pc = await newUser({ fetch: send });
    await me(pc);
    await me(pc);
    assert.equal(send.of(REFRESH).length, 0);
    await sleep(EXPIRED);
    assert.equal((await me(pc)).response.status, 200);
    assert.equal(send.of(REFRESH).length, 1);
  });
}

test("a clock that is set back while somebody is signed in costs one repetition", async (t) => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  const now = Date.now;
  Date.now = () => now() - 3_600_000;
  t.after(() => (Date.now = now));
  await sleep(EXPIRED);
  const { response } = await pc.POST("/api/posts", { body: { title: "Written once", content: "Some words to read." } });
  assert.equal(response.status, 201);
  assert.deepEqual(send.of("/api/posts").map(({ status }) => status), [401, 201]);
});

test("a body that is a stream is not sent twice", async (t) => {
  const pc = await newUser();
  const now = Date.now;
  Date.now = () => now() - 3_600_000;
  t.after(() => (Date.now = now));
  await sleep(EXPIRED);
  const body = new Blob(["{}"]).stream();
  const { error } = await pc.POST("/api/posts", { body, headers: { "Content-Type": "application/json" } });
  assert.equal(error.code, "TOKEN_EXPIRED");
});

test("signing in and out is told once, also to other tabs", async () => {
  const store = sharedStore();
  const told = [];
  const pc = createPostern({ baseUrl: GATEWAY, store, onSignedIn: (user) => told.push(`in ${user.name}`) });
  const other = createPostern({ baseUrl: GATEWAY, store, onSignedOut: (reason) => told.push(`out ${reason}`) });
  const changes = [];
  const stop = other.auth.onChange((user) => changes.push(user?.name));
  const account = credentials();
  await pc.ok(pc.auth.register(account));
  await until(() => changes.length);
  await pc.auth.logout();
  await until(() => told.length === 2);
  stop();
  await pc.ok(pc.auth.login({ email: account.email, password: account.password }));
  await sleep(20);
  assert.deepEqual(told, ["in Somebody", "out SIGNED_OUT", "in Somebody"]);
  assert.deepEqual(changes, ["Somebody", undefined]);
  const { error } = await pc.auth.login({ email: account.email, password: "wrong wrong" });
  assert.equal(error.code, "INVALID_CREDENTIALS");
});

test("a call that is aborted while a renewal hangs ends at once, and the renewal goes on", async () => {
  let release;
  const slow = async (request) => {
    if (request.url.endsWith(REFRESH)) await new Promise((go) => (release = go));
    return fetch(request);
  };
  const pc = await newUser({ fetch: slow });
  await sleep(EXPIRED);
  const leaving = new AbortController();
  const left = pc.GET("/api/auth/me", { signal: leaving.signal });
  const stays = me(pc);
  await until(() => release);
  leaving.abort();
  assert.equal((await left).error.code, "ABORTED");
  release();
  assert.equal((await stays).response.status, 200);
});

test("where localStorage is blocked, importing works and the session is in memory", async (t) => {
  Object.defineProperty(globalThis, "document", { value: { cookie: "" }, configurable: true });
  Object.defineProperty(globalThis, "localStorage", {
    get() {
      throw new DOMException("The operation is insecure.", "SecurityError");
    },
    configurable: true,
  });
  t.after(() => {
    delete globalThis.document;
    delete globalThis.localStorage;
  });
  const fresh = await import("../dist/index.js?blocked");
  const pc = fresh.createPostern({ baseUrl: GATEWAY, store: fresh.localStore() });
  await pc.ok(pc.auth.register(credentials()));
  assert.equal((await me(pc)).response.status, 200);
});
