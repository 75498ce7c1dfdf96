/** The client of Postern: typed calls, a session that lasts, pages, uploads and live events. */
import createClient, { type Client, type ClientPathsWithMethod, type FetchResponse, type MaybeOptionalInit } from "openapi-fetch";
import { csrfToken } from "./cookies.js";
import { asProblem, PosternError, unanswered, type ClientProblem } from "./errors.js";
import type { EventsOptions, PosternEvent } from "./events.js";
import { ApiRequest, createSend, idempotencyKey, isRaw, serializeBody, serializePath, type Send } from "./fetch.js";
import { allPages, type Item, type ListArguments, type ListPath, type Page } from "./pages.js";
import type { components, paths } from "./schema.js";
import { localStore, memoryStore, Session, type SessionStore, type Signin, type SignOutReason, type User } from "./session.js";
import type { Upload, UploadOptions } from "./upload.js";

export { PosternError, type ErrorCode, type Problem } from "./errors.js";
export type { EventsOptions, PosternEvent, Topic } from "./events.js";
export type { Item, ListPath, ListQuery, Page } from "./pages.js";
export { localStore, memoryStore, type SessionState, type SessionStore, type SignOutReason, type User } from "./session.js";
export type { Upload, UploadOptions } from "./upload.js";
export type { components, paths } from "./schema.js";

export interface PosternOptions {
  /** Where the gateway is, for example `http://localhost:8000`; in a browser the page's own origin without it. */
  baseUrl?: string;
  /** `bearer`: tokens in the store. `cookie`: tokens in cookies that no script can read, on the gateway's own host. */
  mode?: "bearer" | "cookie";
  /** Where the session is kept: by default in memory for `bearer`, and what is no secret in localStorage for `cookie`. */
  store?: SessionStore;
  onSignedIn?: (user: User) => void;
  onSignedOut?: (reason: SignOutReason) => void;
  /** How often a request that may be repeated is sent again. */
  retry?: { tries: number };
  /** Headers of every request. */
  headers?: Record<string, string>;
  /** For reading as the user whose cookies are in `headers`; nothing is renewed. See `forwarded` of `./next`. */
  readOnly?: boolean;
  fetch?: Send;
}

type Method = "get" | "put" | "post" | "delete" | "patch" | "head";
type Media = "application/json" | "application/problem+json";
type PathWith<M extends Method> = ClientPathsWithMethod<Client<paths>, M>;
type Operation<Path extends keyof paths, M extends Method> = paths[Path][M] extends infer Found
  ? Found extends Record<string | number, unknown> ? Found : never
  : never;
type Success<Op extends Record<string | number, unknown>, Init> = Extract<
  FetchResponse<Op, Init, Media>,
  { data: unknown }
>;
type Failure<Op extends Record<string | number, unknown>, Init> = Extract<
  FetchResponse<Op, Init, Media>,
  { error: unknown }
>;
/** Either `data` or `error`; `error.code` tells which one. */
export type Outcome<Op extends Record<string | number, unknown>, Init = object> =
  | Success<Op, Init>
  | { data?: never; error: Failure<Op, Init>["error"] | ClientProblem; response: Response };
type Extra = {
  /** Send an `Idempotency-Key`, so that the call is repeated safely when its answer is lost. */
  idempotent?: boolean;
};
type InitArguments<I> = undefined extends I ? [init?: NonNullable<I> & Extra] : [init: I & Extra];
type Call<M extends Method> = <Path extends PathWith<M>, I extends MaybeOptionalInit<paths[Path], M>>(
  path: Path,
  ...init: InitArguments<I>
) => Promise<Outcome<Operation<Path, M>, I>>;

/** What `ok` returns of an outcome: the thing itself, without its envelope. */
export type Unwrapped<O> = O extends { error: object }
  ? never
  : O extends { data: { data: infer Thing } } ? Thing : O extends { data: infer Body } ? Body : never;

/** What every call returns. */
export interface AnyOutcome {
  data?: unknown;
  error?: unknown;
  response: Response;
}
type AnyCall = (path: string, init?: object) => Promise<AnyOutcome>;

export type Postern = ReturnType<typeof createPostern>;

/** Make a client. It keeps one session; a page or an app needs one client only. */
export function createPostern(options: PosternOptions = {}) {
  const { mode = "bearer", readOnly = false } = options;
  const base = (options.baseUrl ?? (typeof location === "undefined" ? "" : location.origin)).replace(/\/+$/, "");
  const bareFetch: Send = options.fetch ?? ((request) => fetch(request));
  const csrf = () => (mode === "cookie" && !readOnly ? csrfToken() : undefined);
  const init: RequestInit = {
    ...(options.headers && { headers: options.headers }),
    ...(mode === "cookie" && { credentials: "include" }),
    ...(readOnly && { cache: "no-store" }),
  };

  const session = new Session({
    mode,
    store: readOnly ? memoryStore() : (options.store ?? (mode === "cookie" ? localStore() : memoryStore())),
    lock: `postern ${base}`,
    csrf,
    onSignedIn: options.onSignedIn,
    onSignedOut: options.onSignedOut,
    refresh: (state) =>
      plain(
        new Request(`${base}/api/auth/refresh`, {
          ...init,
          method: "POST",
          signal: AbortSignal.timeout(30_000),
          // A lost answer may be asked for again: the server gives the same successor for 30 seconds.
          headers: { ...options.headers, "Content-Type": "application/json", "Idempotency-Key": idempotencyKey() },
          body: JSON.stringify(state?.refreshToken ? { refreshToken: state.refreshToken } : {}),
        }),
      ),
  });
  const settings = { fetch: bareFetch, mode, csrf, tries: options.retry?.tries ?? 2 };
  const plain = createSend({ ...settings, session: undefined });
  const send = readOnly ? plain : createSend({ ...settings, session });
  const client = createClient<paths, Media>({
    baseUrl: base,
    ...init,
    fetch: send,
    Request: ApiRequest,
    pathSerializer: serializePath,
    bodySerializer: serializeBody,
    querySerializer: { array: { style: "form", explode: true } },
  });

  function method<M extends Method>(name: Uppercase<M>): Call<M> {
    const call = client[name] as unknown as AnyCall;
    const wrapped = async (path: string, given: { idempotent?: boolean; body?: unknown; headers?: HeadersInit } = {}) => {
      const { idempotent, ...rest } = given;
      const headers = new Headers(given.headers);
      if (idempotent && !headers.has("Idempotency-Key")) headers.set("Idempotency-Key", idempotencyKey());
      if (isRaw(given.body) && !(given.body instanceof FormData) && !headers.has("Content-Type")) {
        headers.set("Content-Type", (given.body instanceof Blob && given.body.type) || "application/octet-stream");
      }
      let outcome: AnyOutcome;
      try {
        outcome = await call(path, { ...rest, headers: Object.fromEntries(headers) });
      } catch (error) {
        if (error instanceof TypeError && /path parameter/.test(error.message)) throw error;
        const response = error instanceof SyntaxError ? new Response(null, { status: 200 }) : unanswered(error);
        outcome = { error: await response.text(), response };
      }
      const { data, error, response } = outcome;
      if (response.ok && error === undefined) return { data, response };
      return { error: asProblem(error, response), response };
    };
    return wrapped as unknown as Call<M>;
  }

  const GET = method<"get">("GET");
  const POST = method<"post">("POST");

  /** Return the thing in the answer, or throw a PosternError. */
  async function ok<O extends AnyOutcome>(call: Promise<O>): Promise<Unwrapped<O>> {
    const { data, error, response } = await call;
    if (error !== undefined) throw new PosternError(asProblem(error, response));
    const thing = typeof data === "object" && data !== null && "data" in data ? data.data : data;
    return thing as Unwrapped<O>;
  }

  /** Send any request to the gateway: proven, renewed and repeated like all others. */
  async function request(path: string, given: RequestInit = {}): Promise<Response> {
    const headers = new Headers(given.headers);
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    return send(new ApiRequest(base + path, { ...init, ...given, headers }));
  }

  function pages<Path extends ListPath>(path: Path, ...[query, given]: ListArguments<Path>) {
    const { path: parameters, signal } = (given ?? {}) as { path?: object; signal?: AbortSignal };
    const read = async (place: object) => {
      const params = { query: place, ...(parameters && { path: parameters }) };
      const { data, error, response } = await (GET as unknown as AnyCall)(path, { params, ...(signal && { signal }) });
      if (error !== undefined) throw new PosternError(asProblem(error, response));
      return data as Page<Path>;
    };
    return allPages<Path>(read, query);
  }

  /** Yield every item of a list, page by page. */
  async function* each<Path extends ListPath>(path: Path, ...given: ListArguments<Path>) {
    for await (const page of pages(path, ...given)) yield* (page as { data: Item<Path>[] }).data;
  }

  async function signIn<O extends AnyOutcome>(call: () => Promise<O>): Promise<O> {
    const sent = Date.now();
    const outcome = await call();
    const signin = (outcome.data as { data: Signin } | undefined)?.data;
    if (signin?.expiresIn) session.begin(signin, sent);
    return outcome;
  }

  const auth = {
    login: (body: components["schemas"]["AuthLogin"]) =>
      signIn(() => POST("/api/auth/login", { body: mode === "cookie" ? { ...body, cookieOnly: true } : body })),

    async register(body: components["schemas"]["AuthRegister"]) {
      if (mode === "bearer") return signIn(() => POST("/api/auth/register", { body }));
      const outcome = await POST("/api/auth/register", { body, credentials: "omit" });
      const token = (outcome.data?.data as Signin | undefined)?.accessToken;
      if (token) {
        // Only a login sets cookies; the session that came with the account is not needed.
        const headers = { Authorization: `Bearer ${token}` };
        await plain(new Request(`${base}/api/auth/logout`, { method: "POST", headers, credentials: "omit" }));
        const { email, password } = body;
        const signin = await auth.login({ email, password });
        if (signin.error) return signin;
      }
      return outcome;
    },

    /** End the session; it is kept when the server cannot be told. */
    logout: () => signOut("/api/auth/logout"),
    logoutAll: () => signOut("/api/auth/logout-all"),

    /** Renew the session now, and return whose it is. Shows in cookie mode who a page that was just loaded belongs to. */
    async refresh(): Promise<User | null> {
      const failure = await session.renew(session.state());
      if (failure) throw await PosternError.from(failure.clone());
      return session.user;
    },

    /** Return who is signed in, renewing the session if that is due; null for a stranger. */
    async me(): Promise<User | null> {
      const failure = await session.ready();
      if (failure) throw await PosternError.from(failure.clone());
      return session.user;
    },

    get user(): User | null {
      return session.user;
    },
    onChange: (listener: (user: User | null) => void) => session.onChange(listener),
  };

  async function signOut(path: "/api/auth/logout" | "/api/auth/logout-all") {
    const outcome = await POST(path);
    if (!outcome.error || outcome.response.status === 401) session.end("SIGNED_OUT");
    return outcome;
  }

  return {
    baseUrl: base,
    GET,
    POST,
    PUT: method<"put">("PUT"),
    PATCH: method<"patch">("PATCH"),
    DELETE: method<"delete">("DELETE"),
    HEAD: method<"head">("HEAD"),
    ok,
    fetch: request,
    pages,
    each,
    auth,
    /** Send a file; above 5 MiB in parts that go on where they broke off. The code for it is loaded when it is needed. */
    async upload(file: Blob, given?: UploadOptions): Promise<Upload> {
      const { uploadFile } = await import("./upload.js");
      return uploadFile(request, base, file, given);
    },
    /** Yield live events until the signal is aborted; loaded when needed, too. */
    async *events(given?: EventsOptions): AsyncGenerator<PosternEvent, void, undefined> {
      const { apiEvents } = await import("./events.js");
      yield* apiEvents(request, "/api/events", given);
    },
  };
}
