/** A `fetch` that proves who asks, renews what has ended, and repeats what can be repeated. */
import { unanswered } from "./errors.js";
import type { Session, SessionState } from "./session.js";

export type Send = (request: Request) => Promise<Response>;

export interface SendOptions {
  fetch: Send;
  /** Undefined where cookies that were passed in say who asks, for reading only. */
  session: Session | undefined;
  mode: "bearer" | "cookie";
  csrf(): string | undefined;
  /** How often a request is sent again. */
  tries: number;
}

const LONGEST_WAIT = 30_000; // milliseconds
const FIRST_WAIT = 500;
const RENEWABLE = /"code": ?"TOKEN_(EXPIRED|REVOKED)"/;
/** The ways to a session: what is left of an old one would only be in the way. */
const WITHOUT_SESSION = /\/api\/auth\/(login|register|refresh|forgot-password|reset-password|verify-email.*)$/;

const notRepeatable = new WeakSet<Request>();

/** Mark a request whose body can be read once only. */
export class ApiRequest extends Request {
  constructor(input: RequestInfo | URL, init?: RequestInit) {
    const isStream = init?.body instanceof ReadableStream;
    super(input, isStream ? ({ ...init, duplex: "half" } as RequestInit) : init);
    if (isStream) notRepeatable.add(this);
  }
}

export function createSend(options: SendOptions): Send {
  const { session } = options;

  async function send(request: Request): Promise<Response> {
    const proves = session !== undefined && !WITHOUT_SESSION.test(new URL(request.url).pathname);
    const repeatable = !notRepeatable.has(request);
    let renewed = false;
    for (let attempt = 0; ; attempt++) {
      if (proves) {
        const failure = await abortable(session.ready(), request.signal);
        if (failure) return failure.clone();
      }
      const state = proves ? session.state() : null;
      const response = await once(repeatable ? request.clone() : request, state);
      if (proves && repeatable && !renewed && (await isOutOfDate(response, state))) {
        renewed = true;
        const failure = await abortable(session.renew(state), request.signal);
        if (failure) return failure.clone();
        if (session.state()) continue;
      }
      const wait = repeatable && attempt < options.tries ? delay(request, response, attempt) : undefined;
      if (wait === undefined || !(await sleep(wait, request.signal))) return response;
    }
  }

  async function once(request: Request, state: SessionState | null): Promise<Response> {
    if (state?.accessToken) request.headers.set("Authorization", `Bearer ${state.accessToken}`);
    const csrf = options.mode === "cookie" && !/^(GET|HEAD|OPTIONS)$/.test(request.method) && options.csrf();
    if (csrf) request.headers.set("X-CSRF-Token", csrf);
    try {
      return await options.fetch(request);
    } catch (error) {
      return unanswered(error, request.signal);
    }
  }

  /** Tell whether this 401 is of a token that can be renewed; a cookie that has ended is simply not there. */
  async function isOutOfDate(response: Response, state: SessionState | null): Promise<boolean> {
    if (response.status !== 401) return false;
    if (options.mode === "cookie") return session?.mayContinue() ?? false;
    return state !== null && (response.body === null || RENEWABLE.test(await response.clone().text()));
  }

  return send;
}

/** Return for how long to wait until the request is sent again, if it may be. */
function delay(request: Request, response: Response, attempt: number): number | undefined {
  const hasKey = request.headers.has("Idempotency-Key");
  if (request.signal.aborted || !(hasKey || /^(GET|HEAD|PUT|DELETE|OPTIONS)$/.test(request.method))) return undefined;
  // The first request may still run when the second arrives.
  const stillRuns = response.status === 409 && hasKey && attempt > 0 && !response.headers.has("Idempotency-Replayed");
  if (!stillRuns && ![0, 502, 503, 504].includes(response.status)) return undefined;
  const asked = Number(response.headers.get("Retry-After")) * 1000;
  if (asked > LONGEST_WAIT) return undefined;
  return asked || backoff(attempt);
}

/** Return a wait that grows, and that differs between clients. */
export function backoff(attempt: number, first = FIRST_WAIT): number {
  return Math.min(first * 4 ** attempt, LONGEST_WAIT) * (0.8 + Math.random() * 0.4);
}

/** Wait; false when the wait was aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal | null): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false);
    const done = (slept: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      resolve(slept);
    };
    const stop = () => done(false);
    const timer = setTimeout(() => done(true), milliseconds);
    signal?.addEventListener("abort", stop);
  });
}

/** Wait for what others wait for too; who gives up gets an answer of their own. */
function abortable(renewal: Promise<Response | undefined>, signal: AbortSignal): Promise<Response | undefined> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(unanswered(signal.reason, signal));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    renewal.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Return a key for one call, however often it is sent. `crypto.randomUUID` wants HTTPS. */
export function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Put parameters into a path. The rest of a path, `{path}`, keeps its slashes; nothing leads out of the path. */
export function serializePath(pattern: string, parameters: Record<string, unknown>): string {
  return pattern.replace(/\{(\w+)\}/g, (_, name: string) => {
    const parts = name === "path" ? String(parameters[name]).split("/") : [String(parameters[name])];
    if (parts.some((part) => /^\.{0,2}$/.test(part))) {
      throw new TypeError(`The path parameter ${name} has a part that is empty, "." or "..".`);
    }
    return parts.map(encodeURIComponent).join("/");
  });
}

/** Leave bytes and forms as they are; all else is JSON. */
export function serializeBody(body: unknown): BodyInit {
  return isRaw(body) ? body : JSON.stringify(body);
}

export function isRaw(body: unknown): body is FormData | Blob | ArrayBuffer | URLSearchParams | ReadableStream {
  return [FormData, Blob, ArrayBuffer, URLSearchParams, ReadableStream].some((kind) => body instanceof kind);
}
