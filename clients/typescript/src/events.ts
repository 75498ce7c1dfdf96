/** Live events by `fetch`: sends the token, comes back by itself, and misses nothing. */
import { PosternError } from "./errors.js";
import { backoff, sleep } from "./fetch.js";
import type { components } from "./schema.js";

/** One event as it was sent. */
export interface RawEvent {
  id: string;
  event: string;
  data: string;
}

type EventData = components["schemas"]["MessagesEvent"];
type NotificationItem = components["schemas"]["MessagesNotification"];
/** What everybody may hear, and `notification` for what only this user may. */
export type Topic = Exclude<EventData["type"], "connected" | "resync" | NotificationItem["type"]> | "notification";
type DataOf<Name, Data = EventData> = Data extends { type: infer Names } ? (Name extends Names ? Data : never) : never;
/** A public event by its topic, a notification of this user, or `resync`: read everything anew. */
export type PosternEvent =
  | { [Name in Exclude<Topic, "notification"> | "resync"]: { id: string; event: Name; data: DataOf<Name> } }[
      | Exclude<Topic, "notification">
      | "resync"]
  | { id: string; event: "notification"; data: NotificationItem };

export interface ListenOptions {
  lastEventId?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called when the stream begins or begins again, and when it breaks off. */
  onState?: ((isConnected: boolean) => void) | undefined;
  /** Milliseconds without a byte after which the line counts as dead; the server says something every 15 seconds. */
  silence?: number | undefined;
}

export interface EventsOptions extends ListenOptions {
  /** Some topics; all without it. */
  topics?: readonly Topic[] | undefined;
}

/** Sends a request to a path, or to an address. */
export type Fetch = (path: string, init?: RequestInit) => Promise<Response>;

const SILENCE = 45_000; // milliseconds
const RETRY = 2000;
const HOPELESS = (status: number) => status >= 400 && status < 500 && status !== 408 && status !== 429;

/** Yield what a stream tells, across any number of connections, until the signal or an error that stays. */
export async function* listen(
  send: Fetch,
  url: string,
  { lastEventId, signal, onState, silence = SILENCE }: ListenOptions = {},
): AsyncGenerator<RawEvent, void, undefined> {
  let id = lastEventId;
  let retry = RETRY;
  for (let failures = 0; !signal?.aborted; failures++) {
    const line = new AbortController();
    const hangUp = () => line.abort();
    signal?.addEventListener("abort", hangUp);
    let watch = setTimeout(hangUp, silence);
    let wait = 0;
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (id !== undefined) headers["Last-Event-ID"] = id;
      const response = await send(url, { headers, signal: line.signal, cache: "no-store" });
      if (!response.ok || !response.body) {
        const error = await PosternError.from(response);
        if (HOPELESS(error.status)) throw error;
        wait = (error.retryAfter ?? 0) * 1000;
      } else {
        onState?.(true);
        const heard = () => {
          clearTimeout(watch);
          watch = setTimeout(hangUp, silence);
        };
        const parser = parse(response.body, heard, (milliseconds) => (retry = milliseconds));
        for await (const event of parser) {
          id = event.id || id;
          failures = 0;
          yield event;
        }
        failures = 0; // the server has ended the stream, and said when to come back
      }
    } catch (error) {
      if (error instanceof PosternError) throw error;
    } finally {
      clearTimeout(watch);
      signal?.removeEventListener("abort", hangUp);
      hangUp();
      onState?.(false);
    }
    await sleep(Math.max(wait, failures ? backoff(failures - 1, retry) : retry), signal);
  }
}

/** Yield the events of one connection (HTML standard, section 9.2.6). */
export async function* parse(
  body: ReadableStream<Uint8Array>,
  heard: () => void = () => undefined,
  retry: (milliseconds: number) => void = () => undefined,
): AsyncGenerator<RawEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let unread = "";
  let event = "";
  let data: string[] = [];
  let id = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      // A carriage return at the end may be the first half of a line's end.
      const lines = (unread + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      unread = lines.pop() ?? "";
      for (const line of lines) {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") data.push(text);
        else if (field === "event") event = text;
        else if (field === "id" && !text.includes("\0")) id = text;
        else if (field === "retry" && /^\d+$/.test(text)) retry(Number(text));
        else if (!line) {
          if (data.length) yield { id, event: event || "message", data: data.join("\n") };
          event = "";
          data = [];
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Yield the events of the API. What begins a connection is told to `onState`. */
export async function* apiEvents(
  send: Fetch,
  url: string,
  { topics, ...options }: EventsOptions = {},
): AsyncGenerator<PosternEvent, void, undefined> {
  const query = topics ? `?topics=${topics.join(",")}` : "";
  for await (const { id, event, data } of listen(send, url + query, options)) {
    if (event !== "connected") yield { id, event, data: JSON.parse(data) } as PosternEvent;
  }
}
