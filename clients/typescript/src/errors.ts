/** Errors: what the API refused, and what never reached it. */
import type { components } from "./schema.js";

/** Problem details (RFC 9457) as every layer of the API sends them. */
export type Problem = components["schemas"]["Problem"];
/** What only a client can know: the line broke, or the caller gave up. */
export type ClientCode = "NETWORK_ERROR" | "ABORTED";
export type ErrorCode = Problem["code"] | ClientCode;
/** A problem of this client's own, in the same shape; its status is 0. */
export type ClientProblem = Omit<Problem, "code" | "status"> & { code: ClientCode; status: 0 };
export type AnyProblem = Problem | ClientProblem;

/** The codes of answers that are no problem details: those of proxies in front of the gateway. */
const BY_STATUS: Record<number, Problem["code"]> = {
  401: "UNAUTHORIZED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  405: "METHOD_NOT_ALLOWED",
  408: "REQUEST_TIMEOUT",
  413: "PAYLOAD_TOO_LARGE",
  414: "URI_TOO_LONG",
  429: "RATE_LIMITED",
  431: "HEADERS_TOO_LARGE",
  502: "BAD_GATEWAY",
  503: "SERVICE_UNAVAILABLE",
  504: "GATEWAY_TIMEOUT",
};

/** An error of the API as an exception. `is("CODE")` tells which one. */
export class PosternError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  /** Messages by the path of the field, for example `"tags.2"`. */
  readonly errors: Record<string, string[]>;
  readonly requestId: string;
  readonly retryAfter: number | undefined;

  constructor(readonly problem: AnyProblem) {
    super(problem.detail || problem.title);
    this.name = "PosternError";
    this.code = problem.code;
    this.status = problem.status;
    this.errors = problem.errors ?? {};
    this.requestId = problem.requestId;
    this.retryAfter = problem.retryAfter;
  }

  is<Code extends ErrorCode>(...codes: Code[]): this is PosternError & { code: Code } {
    return (codes as ErrorCode[]).includes(this.code);
  }

  /** Read the body of an answer that is an error. */
  static async from(response: Response): Promise<PosternError> {
    return new PosternError(asProblem(await response.text().catch(() => ""), response));
  }
}

/** Return the problem that a body is, as text or parsed; make one of any other body. */
export function asProblem(body: unknown, response: Response): AnyProblem {
  const found = typeof body === "string" ? parsed(body) : body;
  if (isProblem(found)) return found;
  const { status } = response;
  const retryAfter = Number(response.headers.get("Retry-After"));
  return {
    success: false,
    type: "about:blank",
    title: response.statusText || `Status ${status}`,
    status,
    detail: "",
    instance: "",
    // An answer of 2xx gets here when its body is none of ours.
    code: BY_STATUS[status] ?? (status < 400 ? "BAD_GATEWAY" : status < 500 ? "BAD_REQUEST" : "INTERNAL_ERROR"),
    requestId: response.headers.get("X-Request-ID") ?? "",
    ...(retryAfter > 0 && { retryAfter }),
  };
}

/** Return an answer that never came: status 0 and a problem as its body. */
export function unanswered(reason: unknown, signal?: AbortSignal | null): Response {
  const code: ClientCode = signal?.aborted ? "ABORTED" : "NETWORK_ERROR";
  const problem: ClientProblem = {
    success: false,
    type: "about:blank",
    title: code === "ABORTED" ? "The request was aborted." : "The server cannot be reached.",
    status: 0,
    detail: reason instanceof Error ? reason.message : String(reason ?? ""),
    instance: "",
    code,
    requestId: "",
  };
  const response = Response.json(problem, { status: 503 });
  return Object.defineProperty(response, "status", { value: 0 });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isProblem(body: unknown): body is AnyProblem {
  return typeof body === "object" && body !== null && "code" in body && typeof body.code === "string";
}
