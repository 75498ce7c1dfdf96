/** The session of a user: kept, renewed before it ends, and once for all tabs. */
import { PosternError, unanswered, type ErrorCode } from "./errors.js";
import type { components } from "./schema.js";

export type User = components["schemas"]["AuthUser"];
/** Why nobody is signed in any more: the code of the refusal, or a logout here or in another tab. */
export type SignOutReason = ErrorCode | "SIGNED_OUT";

/** What is kept of a session. In cookie mode the tokens are in cookies that no script can read. */
export interface SessionState {
  user: User;
  /** In milliseconds of this device's clock, counted from `expiresIn`: a wrong clock does no harm. */
  expiresAt: number;
  /** Milliseconds. */
  lifetime: number;
  accessToken?: string;
  refreshToken?: string;
  csrf?: string;
}

/** Where a session is kept. */
export interface SessionStore {
  get(): SessionState | null;
  set(state: SessionState | null): void;
  /** Set where other tabs see the same. */
  subscribe?(changed: () => void): () => void;
}

/** Keep the session in this page only: a reload signs out. */
export function memoryStore(): SessionStore {
  let state: SessionState | null = null;
  return { get: () => state, set: (next) => void (state = next) };
}

/** Keep the session in `localStorage`, for all tabs; where that is blocked, in memory. */
export function localStore(key = "postern.session"): SessionStore {
  const memory = memoryStore();
  let text: string | null = null;
  const storage = localStorageIfAllowed();
  if (!storage) return memory;
  return {
    get() {
      const now = storage.getItem(key);
      if (now !== text) {
        text = now;
        memory.set(now ? (JSON.parse(now) as SessionState) : null);
      }
      return memory.get();
    },
    set(state) {
      memory.set(state);
      text = state && JSON.stringify(state);
      if (text) storage.setItem(key, text);
      else storage.removeItem(key);
    },
    subscribe(changed) {
      const listener = (event: StorageEvent) => {
        if (event.key === key || event.key === null) changed();
      };
      addEventListener("storage", listener);
      return () => removeEventListener("storage", listener);
    },
  };
}

export function localStorageIfAllowed(): Storage | undefined {
  try {
    // Node.js has one that does nothing but warn; a private window may have one that takes nothing.
    const storage = typeof document === "undefined" ? undefined : localStorage;
    storage?.setItem("postern.probe", "");
    storage?.removeItem("postern.probe");
    return storage;
  } catch {
    return undefined;
  }
}

export interface SessionOptions {
  mode: "bearer" | "cookie";
  store: SessionStore;
  /** The name of the lock that all tabs of this session share. */
  lock: string;
  /** Ask for new tokens. */
  refresh(state: SessionState | null): Promise<Response>;
  csrf(): string | undefined;
  onSignedIn?: ((user: User) => void) | undefined;
  onSignedOut?: ((reason: SignOutReason) => void) | undefined;
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
const PATIENCE = 5000; // milliseconds until a lock that a frozen tab holds is passed by
const PAUSE = 5000; // milliseconds between failed renewals of a token that still lives

export class Session {
  private readonly listeners = new Set<(user: User | null) => void>();
  private flight: Promise<Response | undefined> | undefined;
  private told: User | null;
  private nextTry = 0;

  constructor(private readonly options: SessionOptions) {
    this.told = options.store.get()?.user ?? null;
    options.store.subscribe?.(() => this.tell("SIGNED_OUT"));
  }

  get user(): User | null {
    return this.options.store.get()?.user ?? null;
  }

  onChange(listener: (user: User | null) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Return the session as it is now, or null for a stranger. */
  state(): SessionState | null {
    const state = this.options.store.get();
    if (this.options.mode === "bearer" || !state) return state;
    const csrf = this.options.csrf();
    if (!csrf) this.end("SIGNED_OUT");
    return csrf && csrf === state.csrf ? state : null; // another one has signed in by a plain form
  }

  /** Keep the tokens of a login, a registration or a renewal. */
  begin(signin: Signin, sent: number): void {
    const { user, expiresIn, accessToken, refreshToken } = signin;
    const lifetime = (expiresIn ?? 0) * 1000;
    const csrf = this.options.mode === "cookie" ? this.options.csrf() : undefined;
    this.options.store.set({
      user,
      lifetime,
      expiresAt: sent + lifetime,
      ...(this.options.mode === "bearer" && accessToken && refreshToken && { accessToken, refreshToken }),
      ...(csrf && { csrf }),
    });
    this.tell("SIGNED_OUT");
  }

  end(reason: SignOutReason): void {
    this.options.store.set(null);
    this.tell(reason);
  }

  /** Note what has changed of the account. */
  update(user: User): void {
    const state = this.options.store.get();
    if (state) this.options.store.set({ ...state, user });
    this.tell("SIGNED_OUT");
  }

  /** Renew what is about to end. Return the answer that says why that failed, unless the token is still good. */
  async ready(): Promise<Response | undefined> {
    const state = this.state();
    if (state ? !isDue(state) : !this.mayContinue()) return undefined;
    const lives = state !== null && state.expiresAt > Date.now();
    if (lives && this.nextTry > Date.now()) return undefined;
    const failure = await this.renew(state);
    return lives ? undefined : failure;
  }

  /** Tell whether cookies may continue a session of which this page knows nothing yet. */
  mayContinue(): boolean {
    return this.options.mode === "cookie" && this.options.csrf() !== undefined;
  }

  /** Replace the tokens that were seen, once for all callers and tabs; return the answer when that failed. */
  renew(seen: SessionState | null): Promise<Response | undefined> {
    this.flight ??= this.locked(() => this.refresh(seen)).finally(() => (this.flight = undefined));
    return this.flight;
  }

  private async refresh(seen: SessionState | null): Promise<Response | undefined> {
    const state = this.state();
    if (!state && !this.mayContinue()) return undefined; // another tab has signed out
    if (state && state.expiresAt !== seen?.expiresAt && !isDue(state)) return undefined; // another tab was faster
    const sent = Date.now();
    const response = await this.options.refresh(state);
    if (response.ok) {
      try {
        this.begin(((await response.json()) as { data: Signin }).data, sent);
        return undefined;
      } catch (error) {
        return unanswered(error);
      }
    }
    const problem = await PosternError.from(response.clone());
    if (response.status === 401) {
      const now = this.options.store.get();
      if (!now || now.expiresAt === state?.expiresAt) this.end(problem.code);
      return undefined;
    }
    this.nextTry = Date.now() + PAUSE;
    return response;
  }

  private async locked<T>(work: () => Promise<T>): Promise<T> {
    const locks = this.options.store.subscribe && typeof navigator !== "undefined" ? navigator.locks : undefined;
    if (!locks) return work();
    const waiting = new AbortController();
    const timer = setTimeout(() => waiting.abort(), PATIENCE);
    let begun = false;
    try {
      return await locks.request<Promise<T>>(this.options.lock, { signal: waiting.signal }, async () => {
        begun = true;
        clearTimeout(timer);
        await this.catchUp(locks);
        const result = await work();
        await this.leaveMark(locks);
        return result;
      });
    } catch (error) {
      if (begun) throw error;
      return await work();
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Wait until this tab sees what the holder before has stored: `localStorage` comes to other processes some milliseconds
   * late, the names of locks do not.
   */
  private async catchUp(locks: LockManager): Promise<void> {
    const { lock, store } = this.options;
    const held = (await locks.query()).held ?? [];
    const marks = held.map(({ name = "" }) => (name.startsWith(`${lock} `) ? Number(name.slice(lock.length + 1)) : 0));
    const newest = Math.max(0, ...marks);
    const end = performance.now() + 1000; // timers of hidden tabs are slow
    while (newest > (store.get()?.expiresAt ?? 0) && performance.now() < end) await pause(10);
  }

  /** Hold a lock for a moment whose name says what was stored. */
  private leaveMark(locks: LockManager): Promise<void> {
    const mark = `${this.options.lock} ${this.options.store.get()?.expiresAt ?? 0}`;
    return new Promise((held) => {
      void locks.request(mark, { mode: "shared" }, () => {
        held();
        return pause(1000);
      });
    });
  }

  /** Call the listeners when there is another user than before; later, so that they hold no lock and break nothing. */
  private tell(reason: SignOutReason): void {
    const before = this.told;
    const user = (this.told = this.user);
    if (before === user) return;
    queueMicrotask(() => {
      if (user && before?.id !== user.id) this.options.onSignedIn?.(user);
      if (!user) this.options.onSignedOut?.(reason);
      for (const listener of [...this.listeners]) listener(user);
    });
  }
}

/** A registration, or with cookies a login, may bring less than this. */
export type Signin = components["schemas"]["AuthRegistration"];

/** Tell whether less than a minute, or than a fifth of a short life, is left. */
function isDue(state: SessionState): boolean {
  return state.expiresAt - Date.now() < Math.min(60_000, state.lifetime / 5);
}
