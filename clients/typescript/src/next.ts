/** Next.js: reading as the user in server components, and the gateway under the origin of the app. */
import type { PosternOptions } from "./index.js";

interface CookieReader {
  get(name: string): { value: string } | undefined;
}
interface HeaderReader {
  get(name: string): string | null;
}
export interface ForwardingOptions {
  /** How many proxies stand in front of the Next.js server and append to `X-Forwarded-For`; 0 trusts nobody. */
  trustProxy?: number;
}

/**
 * Options of a client that reads as the user of this request, for server components: `createPostern({ baseUrl,
 * ...forwarded(await cookies(), await headers(), { trustProxy: 1 }) })`. It renews nothing, since a server component cannot
 * set cookies. Without `headers()` all visitors share the limits of the Next.js server.
 */
export function forwarded(
  cookies: CookieReader,
  headers?: HeaderReader,
  { trustProxy = 0 }: ForwardingOptions = {},
): Pick<Required<PosternOptions>, "mode" | "readOnly" | "headers"> {
  const token = cookies.get("authToken")?.value;
  const address = headers && clientAddress(headers, trustProxy);
  return {
    mode: "cookie",
    readOnly: true,
    headers: { ...(token && { Cookie: `authToken=${token}` }), ...(address && { "X-Forwarded-For": address }) },
  };
}

export interface HandlerOptions extends ForwardingOptions {
  /** Where the gateway is, for example `http://localhost:8000`. */
  gateway: string;
  /** Return the browser's address where the platform tells it in another way than `X-Forwarded-For`. */
  address?: (request: Request) => string | undefined;
  /** Milliseconds until the gateway has to begin its answer, from the end of the request on. */
  timeout?: number;
}

type Handle = (request: Request) => Promise<Response>;
export type Handlers = Record<"GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS", Handle>;

const TIMEOUT = 60_000;
/** Of one connection only (RFC 9110, section 7.6.1), or ours to say. */
const DROPPED = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "host",
  "content-length",
  "accept-encoding",
  "forwarded",
];

/** The handlers of one route, `app/api/[...path]/route.ts`, that pass everything to the gateway and stream both ways. */
export function handler(options: HandlerOptions): Handlers {
  const gateway = new URL(options.gateway).origin;

  async function handle(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    if (!/^\/api(\/|$)/.test(pathname) || /%2e/i.test(pathname) || pathname.includes("//")) {
      return problem(404, "NOT_FOUND", "There is nothing here.", pathname);
    }
    const upstream = new AbortController();
    const leave = () => upstream.abort("left");
    if (request.signal.aborted) leave();
    request.signal.addEventListener("abort", leave, { once: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isAnswered = false;
    const startClock = () => {
      if (!isAnswered) timer = setTimeout(() => upstream.abort("late"), options.timeout ?? TIMEOUT);
    };
    const body = request.body?.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({ flush: startClock }));
    if (!body) startClock();
    try {
      const answer = await fetch(gateway + pathname + search, {
        method: request.method,
        headers: requestHeaders(request, options),
        body: body ?? null,
        redirect: "manual",
        signal: upstream.signal,
        cache: "no-store",
        ...({ duplex: "half" } as object),
      });
      return new Response(answer.body, { status: answer.status, headers: answerHeaders(answer) });
    } catch {
      return upstream.signal.reason === "late"
        ? problem(504, "GATEWAY_TIMEOUT", "The service behind took too long.", pathname)
        : problem(502, "BAD_GATEWAY", "The gateway cannot be reached.", pathname);
    } finally {
      isAnswered = true;
      clearTimeout(timer);
    }
  }

  return { GET: handle, HEAD: handle, POST: handle, PUT: handle, PATCH: handle, DELETE: handle, OPTIONS: handle };
}

function requestHeaders(request: Request, { trustProxy = 0, address = () => undefined }: HandlerOptions): Headers {
  const headers = endToEnd(request.headers);
  for (const name of [...headers.keys()]) if (name.startsWith("x-forwarded-")) headers.delete(name);
  const client = address(request) ?? clientAddress(request.headers, trustProxy);
  if (client) headers.set("X-Forwarded-For", client);
  const { host, protocol } = new URL(request.url);
  const trusted = trustProxy > 0;
  headers.set("X-Forwarded-Host", (trusted && request.headers.get("X-Forwarded-Host")) || request.headers.get("Host") || host);
  headers.set("X-Forwarded-Proto", (trusted && request.headers.get("X-Forwarded-Proto")) || protocol.slice(0, -1));
  headers.set("Accept-Encoding", "identity"); // `fetch` would decode it, and the header would lie
  return headers;
}

function answerHeaders(answer: Response): Headers {
  const isEncoded = answer.headers.has("Content-Encoding");
  const headers = endToEnd(answer.headers);
  headers.delete("Content-Encoding");
  headers.delete("Set-Cookie");
  for (const cookie of answer.headers.getSetCookie()) headers.append("Set-Cookie", cookie);
  const length = answer.headers.get("Content-Length");
  if (length !== null && !isEncoded) headers.set("Content-Length", length);
  return headers;
}

function endToEnd(given: Headers): Headers {
  const headers = new Headers(given);
  const named = (given.get("Connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  for (const name of [...DROPPED, ...named]) if (/^[a-z0-9-]+$/.test(name)) headers.delete(name);
  return headers;
}

/** Return the address that the outermost trusted proxy saw; what stands left of it the browser may have forged. */
function clientAddress(headers: HeaderReader, trustProxy: number): string | undefined {
  if (trustProxy < 1) return undefined;
  const hops = (headers.get("X-Forwarded-For") ?? "").split(",").map((hop) => hop.trim());
  return hops.filter(Boolean).at(-trustProxy);
}

function problem(status: number, code: string, detail: string, instance: string): Response {
  const requestId = crypto.randomUUID();
  const body = { success: false, type: "about:blank", title: code, status, detail, instance, code, requestId };
  const headers = { "Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Request-ID": requestId };
  return Response.json(body, { status, headers });
}
