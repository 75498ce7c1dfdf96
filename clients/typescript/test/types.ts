// What has to compile, and what must not: read by tsc, never run.
import { createPostern, PosternError, type Item } from "postern-client";

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
    if (event.event === "notification") void event.data.read;
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
