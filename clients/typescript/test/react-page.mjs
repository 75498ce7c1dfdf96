// A page that uses every hook; bundled by the test, which works it in a browser.
import { createElement as h, useState } from "react";
import { createRoot } from "react-dom/client";
import { createPostern } from "postern-client";
import { PosternProvider, useAction, useEvents, useList, usePostern, useSession, useSSE } from "postern-client/react";

const pc = createPostern({ baseUrl: globalThis.GATEWAY, mode: "cookie" });
globalThis.pc = pc;

function Session() {
  const { user, isReady, login, logout } = useSession();
  const { submit, error, pending } = useAction((form) => login(Object.fromEntries(form)));
  if (!isReady) return h("p", { id: "who" }, "…");
  if (user) return h("p", null, h("span", { id: "who" }, user.name), h("button", { id: "out", onClick: logout }, "Out"));
  return h(
    "form",
    { id: "login", onSubmit: (event) => (event.preventDefault(), submit(new FormData(event.target))) },
    h("span", { id: "who" }, "nobody"),
    h("input", { name: "email" }),
    h("input", { name: "password" }),
    h("b", { id: "login-error" }, error?.code ?? ""),
    h("button", { disabled: pending }, "In"),
  );
}

function Write() {
  const client = usePostern();
  const [calls, setCalls] = useState(0);
  const { submit, errors, data } = useAction((form) => {
    setCalls((before) => before + 1);
    const body = { title: form.get("title"), content: "Some words to read.", status: "published" };
    return client.POST("/api/posts", { body, idempotent: true });
  });
  return h(
    "form",
    { id: "write", action: submit },
    h("input", { name: "title" }),
    h("b", { id: "title-errors" }, (errors.title ?? []).join()),
    h("i", { id: "written" }, data?.data.title ?? ""),
    h("i", { id: "calls" }, String(calls)),
  );
}

function List() {
  const { items, hasMore, more, reload, pending } = useList("/api/posts", { limit: 2, sort: "oldest" });
  const { state } = useEvents({ topics: ["post.published"], onEvent: reload });
  return h(
    "div",
    null,
    h("i", { id: "state" }, state),
    h("ol", { id: "posts" }, items.map((post) => h("li", { key: post.id }, post.title))),
    h("button", { id: "more", disabled: !hasMore || pending, onClick: more }, "More"),
  );
}

function Stream() {
  const { data, isConnected } = useSSE(`${globalThis.GATEWAY}/api/events?topics=post.published`);
  return h("p", { id: "stream" }, `${isConnected} ${data.map((event) => event.title).join()}`);
}

const app = h(PosternProvider, { client: pc }, h(Session), h(Write), h(List), h(Stream));
createRoot(document.getElementById("root")).render(app);
