/** Hooks for React 18 and newer. */
"use client";

import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
  type ReactNode,
} from "react";
import { PosternError } from "./errors.js";
import type { Item, ListPath, ListQuery, Page, Postern, PosternEvent, Topic, User } from "./index.js";

const Context = createContext<Postern | null>(null);

/** Give the hooks below it their client. */
export function PosternProvider({ client, children }: { client: Postern; children?: ReactNode }) {
  return createElement(Context.Provider, { value: client }, children);
}

export function usePostern(): Postern {
  const client = useContext(Context);
  if (!client) throw new Error("There is no <PosternProvider client={…}> around this component.");
  return client;
}

export interface SessionValue {
  user: User | null;
  /** False until it is known whether somebody is signed in. */
  isReady: boolean;
  login: Postern["auth"]["login"];
  register: Postern["auth"]["register"];
  logout: Postern["auth"]["logout"];
}

/** Tell who is signed in, here and in other tabs. */
export function useSession(): SessionValue {
  const { auth } = usePostern();
  const user = useSyncExternalStore(auth.onChange, () => auth.user, () => null);
  const [isReady, setReady] = useState(false);
  useEffect(() => {
    let isHere = true;
    // A server that is away tells nothing about the session; a later call will.
    auth.me().catch(() => null).finally(() => isHere && setReady(true));
    return () => void (isHere = false);
  }, [auth]);
  return { user, isReady, login: auth.login, register: auth.register, logout: auth.logout };
}

/** Collect the events of a stream, named or not; the stream comes back by itself, and misses nothing. */
export function useSSE<T>(url: string): { data: T[]; error: Error | null; isConnected: boolean } {
  const client = useContext(Context);
  const [data, setData] = useState<T[]>([]);
  const [error, setError] = useState<Error | null>(null);
  const [isConnected, setConnected] = useState(false);

  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const base = client?.baseUrl ?? "";
    const isOurs = client && (url.startsWith("/") || url.startsWith(`${base}/`));
    const send = isOurs ? client.fetch : fetch;
    setData([]);
    setError(null);
    const onState = (state: boolean) => {
      if (!signal.aborted) setConnected(state);
      if (state) setError(null);
    };
    (async () => {
      const { listen } = await import("./events.js");
      const address = isOurs && base && url.startsWith(base) ? url.slice(base.length) : url;
      for await (const { event, data: text } of listen(send, address, { signal, onState })) {
        if (event === "connected") continue;
        try {
          const next = JSON.parse(text) as T;
          setData((before) => [...before, next]);
        } catch {
          setError(new Error(`The event is no JSON: ${text.slice(0, 100)}`));
        }
      }
    })().catch((reason: unknown) => {
      if (!signal.aborted) setError(reason instanceof Error ? reason : new Error(String(reason)));
    });
    return () => leaving.abort();
  }, [client, url]);

  return { data, error, isConnected };
}

export interface UseEventsOptions {
  topics?: readonly Topic[];
  onEvent?: (event: Exclude<PosternEvent, { event: "resync" }>) => void;
  /** Something was missed that is not known any more: read your lists anew. */
  onResync?: () => void;
}

/** Hear live events; begins anew as somebody else when the user changes. */
export function useEvents({ topics, onEvent, onResync }: UseEventsOptions = {}): {
  last: PosternEvent | null;
  state: "connecting" | "open" | "closed";
  error: Error | null;
} {
  const client = usePostern();
  const userId = useSession().user?.id;
  const [last, setLast] = useState<PosternEvent | null>(null);
  const [state, setState] = useState<"connecting" | "open" | "closed">("connecting");
  const [error, setError] = useState<Error | null>(null);
  const handlers = useLatest({ onEvent, onResync });
  const wanted = topics?.join(",");

  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const onState = (isOpen: boolean) => !signal.aborted && setState(isOpen ? "open" : "connecting");
    setError(null);
    (async () => {
      for await (const event of client.events({ topics: wanted?.split(",") as Topic[] | undefined, signal, onState })) {
        setLast(event);
        if (event.event === "resync") handlers.current.onResync?.();
        else handlers.current.onEvent?.(event);
      }
    })().catch((reason: unknown) => {
      if (signal.aborted) return;
      setError(reason instanceof Error ? reason : new Error(String(reason)));
      setState("closed");
    });
    return () => leaving.abort();
  }, [client, userId, wanted, handlers]);

  return { last, state, error };
}

type ActionResult = { data?: unknown; error?: unknown; response?: Response };
type DataOf<Result> = Result extends { error: object } ? never : Result extends { data: infer Data } ? Data : never;

/** Send a form: `<form action={submit}>`. `errors` has messages by the path of the field. */
export function useAction<Input, Result extends ActionResult>(
  action: (input: Input) => Promise<Result>,
): {
  submit: (input: Input) => Promise<Result | undefined>;
  pending: boolean;
  errors: Record<string, string[]>;
  error: PosternError | null;
  data: DataOf<Result> | undefined;
} {
  const [pending, setPending] = useState(false);
  const [error, setError] = useState<PosternError | null>(null);
  const [data, setData] = useState<DataOf<Result> | undefined>(undefined);
  const running = useRef(false);
  const latest = useLatest(action);

  const submit = useCallback(
    async (input: Input) => {
      if (running.current) return undefined; // a double click sends once
      running.current = true;
      setPending(true);
      try {
        const result = await latest.current(input);
        const refused = result.error as ConstructorParameters<typeof PosternError>[0] | undefined;
        setError(refused ? new PosternError(refused) : null);
        setData(refused ? undefined : (result.data as DataOf<Result>));
        return result;
      } catch (thrown) {
        if (!(thrown instanceof PosternError)) throw thrown;
        setError(thrown);
        return undefined;
      } finally {
        running.current = false;
        setPending(false);
      }
    },
    [latest],
  );

  return { submit, pending, errors: error?.errors ?? {}, error, data };
}

export interface UseListOptions {
  /** Parameters of the path, for example `{ id }` of `/api/posts/{id}/comments`. */
  path?: Record<string, string>;
}

/** Read a list page by page, for infinite scroll. */
export function useList<Path extends ListPath>(
  path: Path,
  query?: ListQuery<Path>,
  options: UseListOptions = {},
): {
  items: Item<Path>[];
  pending: boolean;
  error: PosternError | null;
  hasMore: boolean;
  more: () => Promise<void>;
  reload: () => void;
} {
  const client = usePostern();
  const [items, setItems] = useState<Item<Path>[]>([]);
  const [pending, setPending] = useState(true);
  const [error, setError] = useState<PosternError | null>(null);
  const [hasMore, setHasMore] = useState(true);
  const [round, setRound] = useState(0);
  const reading = useRef<{ next: () => Promise<void> } | null>(null);
  const key = JSON.stringify([query, options.path]);

  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const [wanted, parameters] = JSON.parse(key) as [object | null, object | null];
    type Pages = (path: Path, query: object, options: object) => AsyncGenerator<Page<Path>, void, undefined>;
    const begin = () =>
      (client.pages as unknown as Pages)(path, wanted ?? {}, { signal, ...(parameters && { path: parameters }) });
    let pages = begin();
    let isBusy = false;
    let isFirst = true;
    const next = async () => {
      if (isBusy || signal.aborted) return;
      isBusy = true;
      setPending(true);
      try {
        const { value, done } = await pages.next();
        if (signal.aborted) return;
        const page = value as { data: Item<Path>[]; pagination: { hasMore: boolean } } | undefined;
        const wasFirst = isFirst;
        isFirst = false;
        if (page) setItems((before) => (wasFirst ? page.data : [...before, ...page.data]));
        setHasMore(!done && page !== undefined && page.pagination.hasMore);
        setError(null);
      } catch (refused) {
        if (signal.aborted) return;
        if (!(refused instanceof PosternError)) throw refused;
        setError(refused);
        pages = begin(); // a generator that has thrown is over
        isFirst = true;
      } finally {
        isBusy = false;
        if (!signal.aborted) setPending(false);
      }
    };
    reading.current = { next };
    void next();
    return () => leaving.abort();
  }, [client, path, key, round]);

  const more = useCallback(() => reading.current?.next() ?? Promise.resolve(), []);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { items, pending, error, hasMore, more, reload };
}

/** Return a reference whose value is that of the last render. */
function useLatest<Value>(value: Value): { current: Value } {
  const reference = useRef(value);
  useEffect(() => {
    reference.current = value;
  });
  return reference;
}
