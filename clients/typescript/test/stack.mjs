// What the tests share: the running stack, new users, and a line to it that can be counted, cut and frozen.
import { createServer, connect } from "node:net";
import { randomBytes } from "node:crypto";
import { createPostern } from "postern-client";

export const GATEWAY = process.env.GATEWAY;
export const PASSWORD = "a long secret";

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export async function until(condition, milliseconds = 20_000) {
  const end = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`it did not happen within ${milliseconds} ms: ${condition}`);
    await sleep(20);
  }
}

/** A `fetch` that notes what was sent, and lets `answer` stand in for the server. */
export function noting(answer = () => undefined) {
  const sent = [];
  const send = async (request) => {
    const { pathname } = new URL(request.url);
    const one = { method: request.method, path: pathname, status: 0, request };
    sent.push(one);
    const response = await (answer(pathname, request, sent) ?? fetch(request));
    one.status = response.status;
    return response;
  };
  send.sent = sent;
  send.of = (path) => sent.filter((one) => one.path === path);
  return send;
}

export const credentials = () => ({
  name: "Somebody",
  email: `${randomBytes(8).toString("hex")}@example.com`,
  password: PASSWORD,
});

/** Return a client with a user of its own. */
export async function newUser(options = {}) {
  const pc = createPostern({ baseUrl: GATEWAY, ...options });
  await pc.ok(pc.auth.register(credentials()));
  return pc;
}

export const aPost = (title = "A post") => ({ title, content: "Some words to read.", status: "published" });

/** A line to the gateway, as of a laptop: frozen, nothing passes and nobody is told. */
export async function newLine() {
  const line = { connections: 0, frozen: false, url: "", onAnswer: undefined, lines: new Set() };
  const gateway = new URL(GATEWAY);
  const server = createServer((client) => {
    line.connections += 1;
    const upstream = connect(Number(gateway.port), gateway.hostname);
    line.lines.add([client, upstream]);
    const pass = (from, to) => {
      from.on("data", (data) => {
        if (line.frozen) return;
        if (from === upstream && line.onAnswer?.(client, upstream, data)) return;
        to.write(data);
      });
      from.on("end", () => line.frozen || to.end());
      from.on("error", () => line.frozen || to.destroy());
    };
    pass(client, upstream);
    pass(upstream, client);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  line.url = `http://127.0.0.1:${server.address().port}`;
  line.close = () => {
    for (const [client, upstream] of line.lines) {
      client.destroy();
      upstream.destroy();
    }
    server.close();
  };
  return line;
}

/** A store that several clients share, as tabs share `localStorage`. */
export function sharedStore() {
  let text = null;
  const listeners = new Set();
  return {
    get: () => (text ? JSON.parse(text) : null),
    set(state) {
      text = state && JSON.stringify(state);
      queueMicrotask(() => listeners.forEach((listener) => listener()));
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** A PDF of about so many bytes. */
export const pdf = (size) => {
  const head = Buffer.from("%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\n");
  const body = Buffer.alloc(size, "% filler of a comment that means nothing at all\n");
  const xref = head.length + body.length;
  const table = `xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n0000000058 00000 n \ntrailer\n<< /Size 3 /Root 1 0 R >>\nstartxref\n${xref}\n%%EOF\n`;
  return new File([head, body, "\n", table], "ä report.pdf", { type: "application/pdf", lastModified: 1 });
};
