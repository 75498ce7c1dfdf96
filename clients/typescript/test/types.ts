// What has to compile, and what must not: read by tsc, never run.
import { createPostern, PosternError, type Item } from "postern-client";
import { forwarded, handler } from "postern-client/next";
import { useAction, useEvents, useList, useSession, useSSE } from "postern-client/react";

const pc = createPostern({ baseUrl: "http://localhost:8000" });

export async function typed(): Promise<void> {
  const { data, error, response } = await pc.GET("/api/posts", { params: { query: { tag: ["a"], sort: "newest" } } });
  if (error) {
    const code: string = error.code;
    if (error.code === "NETWORK_ERROR" || error.code === "RATE_LIMITED") console.log(code, error.detail);
    // @ts-expect-error no such code
    if (error.code === "NO_SUCH_CODE") return;
    return;
  }
  const title: string | undefined = data.data[0]?.title;
  const status: number = response.status;

  const post = await pc.ok(pc.POST("/api/posts", { body: { title: "t", content: "c" }, idempotent: true }));
  const id: string = post.id;
  const nothing: undefined = await pc.ok(pc.DELETE("/api/posts/{id}", { params: { path: { id } } }));
  // @ts-expect-error a post has no such field
  void post.nonsense;
  // @ts-expect-error the title is missing
  await pc.POST("/api/posts", { body: { content: "c" } });
  // @ts-expect-error no such path
  await pc.GET("/api/nothing");
  // @ts-expect-error no such query
  for await (const found of pc.each("/api/posts", { quarry: "x" })) void found;
  for await (const found of pc.each("/api/posts", { q: "x" })) void found.title.length;
  for await (const comment of pc.each("/api/posts/{id}/comments", {}, { path: { id } })) void comment.content;
  // @ts-expect-error its path has a parameter
  pc.each("/api/posts/{id}/comments");
  // @ts-expect-error one thing is no list
  pc.each("/api/auth/me");
  const item: Item<"/api/tags"> = { name: "a", postCount: 1 };

  const signin = await pc.auth.login({ email: "a@example.org", password: "x" });
  if (signin.error) console.log(signin.error.code);
  const name: string | undefined = pc.auth.user?.name;
  for await (const event of pc.events({ topics: ["notification"] })) {
    if (event.event === "notification" && event.data.type === "comment") void event.data.post.title;
    if (event.event === "post.published") void event.data.slug.length;
    // @ts-expect-error a deleted post has no title any more
    if (event.event === "post.deleted") void event.data.title;
    // @ts-expect-error no such topic
    if (event.event === "nothing") return;
  }
  try {
    const file = await pc.upload(new Blob(["x"]), { private: true, onProgress: (sent, total) => sent / total });
    const url: string = file.url;
    console.log(title, status, nothing, item, name, url);
  } catch (refused) {
    if (refused instanceof PosternError && refused.is("STORAGE_FULL", "QUOTA_EXCEEDED")) {
      const full: "STORAGE_FULL" | "QUOTA_EXCEEDED" = refused.code;
      console.log(full);
    }
  }
}

export function Hooked() {
  const { user } = useSession();
  const { data, isConnected } = useSSE<{ type: string }>("/api/events?names=none");
  const { items, more } = useList("/api/posts", { sort: "newest" });
  const { submit, errors, data: written } = useAction((form: FormData) =>
    pc.POST("/api/posts", { body: { title: String(form.get("title")), content: "" }, idempotent: true }),
  );
  useEvents({ topics: ["comment.created"], onEvent: (event) => void event.id });
  // @ts-expect-error one thing is no list
  useList("/api/auth/me");
  const send: (form: FormData) => Promise<unknown> = submit;
  return [user?.name, data[0]?.type, isConnected, items[0]?.title, more, send, errors["title"]?.[0], written?.data.id];
}

export const { GET, POST } = handler({ gateway: "http://localhost:8000", trustProxy: 1 });
export const asReader = createPostern({
  baseUrl: "http://localhost:8000",
  ...forwarded({ get: () => ({ value: "" }) }, new Headers()),
});
