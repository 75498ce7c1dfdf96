/** Uploads: in one request when small, else in parts that go on where they broke off (tus 1.0). */
import { PosternError, unanswered } from "./errors.js";
import type { Fetch } from "./events.js";
import { backoff, idempotencyKey, sleep } from "./fetch.js";
import { localStorageIfAllowed } from "./session.js";
import type { paths } from "./schema.js";

type Answer = paths["/api/upload"]["post"]["responses"][201]["content"]["application/json"];
export type Upload = Answer extends { data: infer Data } ? Data : never;

export interface UploadOptions {
  private?: boolean | undefined;
  /** The file's name, if it is a Blob without one or another one is wanted. */
  name?: string | undefined;
  onProgress?: ((sent: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export const RESUMABLE_FROM = 5 * 1024 * 1024; // bytes
const PART = 2 * 1024 * 1024;
const FRUITLESS = 4; // attempts without a byte of progress, one after the other
const TUS = { "Tus-Resumable": "1.0.0" };

/** The addresses of uploads that have begun, by what the file looks like. */
const begun = new Map<string, string>();

export async function uploadFile(
  send: Fetch,
  base: string,
  file: Blob,
  { private: isPrivate = false, name, onProgress, signal }: UploadOptions = {},
): Promise<Upload> {
  const filename = name ?? (file instanceof File ? file.name : "file");
  const request = (method: string, path: string, init: RequestInit = {}) =>
    send(path, { method, signal: signal ?? null, ...init });

  async function inOneRequest(): Promise<Upload> {
    const form = new FormData();
    if (isPrivate) form.set("private", "true");
    form.set("file", file, filename);
    onProgress?.(0, file.size);
    const headers = { "Idempotency-Key": idempotencyKey() };
    const response = await request("POST", `/api/upload`, { body: form, headers });
    if (!response.ok) throw await PosternError.from(response);
    onProgress?.(file.size, file.size);
    return ((await response.json()) as { data: Upload }).data;
  }

  async function create(): Promise<string> {
    const words = { filename, filetype: file.type, private: String(isPrivate) };
    const metadata = Object.entries(words).filter(([, value]) => value).map(([key, value]) => `${key} ${base64(value)}`);
    const headers = {
      ...TUS,
      "Upload-Length": String(file.size),
      "Upload-Metadata": metadata.join(","),
      "Idempotency-Key": idempotencyKey(),
    };
    const response = await request("POST", `/api/uploads/tus`, { headers });
    const place = response.headers.get("Location");
    if (!response.ok || !place) throw await PosternError.from(response);
    return new URL(place, base).pathname;
  }

  /** Return how much is there, or undefined when the server knows nothing of the upload any more. */
  async function offsetOf(path: string): Promise<number | undefined> {
    const response = await request("HEAD", path, { headers: TUS });
    const offset = response.headers.get("Upload-Offset");
    if (response.ok && offset !== null) return Number(offset);
    if (response.status === 404 || response.status === 410 || response.status === 403) return undefined;
    throw await PosternError.from(response);
  }

  async function inParts(): Promise<Upload> {
    const key = [filename, file.size, file.type, isPrivate, file instanceof File ? file.lastModified : ""].join("|");
    let path = recall(key);
    let offset = path === undefined ? undefined : await offsetOf(path);
    if (path === undefined || offset === undefined) {
      path = await create();
      remember(key, path);
      offset = 0;
    }
    for (let fruitless = 0; offset < file.size || file.size === 0; ) {
      onProgress?.(offset, file.size);
      const response = await request("PATCH", path, {
        headers: { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
        body: file.slice(offset, offset + PART),
      });
      const before = offset;
      if (response.ok) {
        offset = Number(response.headers.get("Upload-Offset"));
      } else {
        const error = await PosternError.from(response);
        // A full disk may have room later, and the upload is kept; a file that is refused stays refused.
        if (error.status !== 507 && error.status >= 400 && error.status < 500 && ![408, 409, 429].includes(error.status)) {
          remember(key, undefined);
        }
        if (![0, 408, 409, 502, 503, 504].includes(error.status) || ++fruitless > FRUITLESS) throw error;
        const wait = Math.max(backoff(fruitless - 1), (error.retryAfter ?? 0) * 1000);
        if (!(await sleep(wait, signal))) throw await PosternError.from(unanswered(signal?.reason, signal));
        offset = (await offsetOf(path)) ?? 0;
      }
      if (offset > before) fruitless = 0;
    }
    onProgress?.(file.size, file.size);
    remember(key, undefined);
    const response = await request("GET", `/api/uploads/${path.split("/").pop()}`);
    if (!response.ok) throw await PosternError.from(response);
    return ((await response.json()) as { data: Upload }).data;
  }

  return file.size > RESUMABLE_FROM ? inParts() : inOneRequest();
}

const STORED = "postern.upload.";

function recall(key: string): string | undefined {
  return begun.get(key) ?? localStorageIfAllowed()?.getItem(STORED + key) ?? undefined;
}

function remember(key: string, path: string | undefined): void {
  const storage = localStorageIfAllowed();
  if (path === undefined) {
    begun.delete(key);
    storage?.removeItem(STORED + key);
  } else {
    begun.set(key, path);
    storage?.setItem(STORED + key, path);
  }
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
