const page = (id) => document.getElementById(id);

/** Make an element; texts become text nodes, so that nothing in the document or an answer is ever markup. */
function make(name, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Turn `words` between backticks into code. */
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function resolve(api, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((found, key) => found[key], api);
}

function describe(api, given) {
  const schema = resolve(api, given) || {};
  const limits = ["format", "minLength", "maxLength", "minimum", "maximum", "default"]
    .filter((key) => schema[key] !== undefined)
    .map((key) => `${key} ${schema[key]}`);
  const choice = schema.enum ? [`one of ${schema.enum.join(", ")}`] : [];
  return [[].concat(schema.type || "any").join(" or "), ...choice, ...limits].join("; ");
}

function showContent(api, type, { schema, example }) {
  const exact = make("pre", {}, JSON.stringify(resolve(api, schema || {}), null, 2));
  return make("details", {}, make("summary", {}, type),
    example === undefined ? null : make("pre", {}, JSON.stringify(example, null, 2)),
    make("details", {}, make("summary", {}, "Schema"), exact));
}

function showAnswer(api, status, given) {
  const answer = resolve(api, given);
  const content = Object.entries(answer.content || {});
  const row = make("details", {}, make("summary", {}, make("b", {}, status), answer.description.slice(0, 90)));
  const headers = Object.entries(answer.headers || {}).map(([name, header]) =>
    make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, ...prose(resolve(api, header).description))));
  row.append(make("p", {}, ...prose(answer.description)), make("table", {}, ...headers));
  row.append(...content.map(([type, described]) => showContent(api, type, described)));
  return row;
}

/** Send what the form says, and show what comes back. */
async function send(method, path, inputs, read, output) {
  const query = new URLSearchParams();
  const headers = {};
  let target = path;
  for (const { parameter, input } of inputs) {
    if (!input.value) continue;
    if (parameter.in === "path") {
      const value = input.value.split("/").map(encodeURIComponent).join("/");
      target = target.replace(`{${parameter.name}}`, () => value);
    } else if (parameter.in === "query") {
      for (const value of parameter.schema?.type === "array" ? input.value.split(",") : [input.value]) {
        query.append(parameter.name, value.trim());
      }
    } else if (parameter.in === "header") headers[parameter.name] = input.value;
  }
  if (query.size) target += `?${query}`;
  const options = { method: method.toUpperCase(), headers, credentials: "omit", cache: "no-store" };
  if (page("token").value) headers.Authorization = `Bearer ${page("token").value.trim()}`;
  const [body, type] = read ? read() : [];
  if (type) headers["Content-Type"] = type;
  if (body) options.body = body;
  output.textContent = "…";
  try {
    const began = performance.now();
    const answer = await fetch(target, options);
    const text = await answer.text();
    const elapsed = Math.round(performance.now() - began);
    const told = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.textContent = `${answer.status} ${answer.statusText} (${elapsed} ms)\n${told}\n\n${pretty(text)}`;
  } catch (error) {
    output.textContent = `Not sent: ${error.message}`;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text.slice(0, 100000);
  }
}

/** Return the fields of a body, and a function that reads them: what to send, and its type unless fetch sets that. */
function bodyForm(api, operation) {
  const content = operation.requestBody?.content;
  if (!content) return [null, null];
  const [type, { schema, example }] = Object.entries(content)[0];
  if (type === "multipart/form-data") {
    const name = Object.keys(resolve(api, schema).properties || { file: 1 })[0];
    const file = make("input", { type: "file", multiple: name === "files" });
    const read = () => {
      const form = new FormData();
      for (const one of file.files) form.append(name, one);
      return [form];
    };
    return [make("p", {}, `${name} `, file), read];
  }
  if (!/json|urlencoded/.test(type)) {
    const file = make("input", { type: "file" });
    return [make("p", {}, "body ", file), () => [file.files[0], file.files[0]?.type || type]];
  }
  const area = make("textarea", { value: JSON.stringify(example ?? {}, null, 2), spellcheck: false });
  return [area, () => [area.value, type]];
}

function tryForm(api, method, path, operation) {
  const inputs = (operation.parameters || []).map((given) => {
    const parameter = resolve(api, given);
    return { parameter, input: make("input", { required: !!parameter.required, ariaLabel: parameter.name }) };
  });
  const rows = inputs.map(({ parameter, input }) => make("tr", {},
    make("td", {}, make("code", {}, parameter.name), ` in ${parameter.in}`, parameter.required ? " *" : ""),
    make("td", {}, describe(api, parameter.schema)), make("td", {}, input)));
  const [fields, read] = bodyForm(api, operation);
  const output = make("pre", { ariaLive: "polite" });
  const form = make("form", {}, make("table", {}, ...rows), fields, make("p", {}, make("button", {}, "Send")), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, read, output);
  });
  return form;
}

function showOperation(api, path, method, operation) {
  const item = make("details", {}, make("summary", {}, make("b", {}, method.toUpperCase()), make("code", {}, path),
    " ", ...prose(operation.summary)));
  item.dataset.text = `${method} ${path} ${operation.summary || ""} ${operation.description || ""}`.toLowerCase();
  item.addEventListener("toggle", () => {
    if (item.childElementCount > 1) return;
    const limit = operation["x-rate-limit"];
    const needed = (operation.security || []).length && !operation.security.some((one) => !Object.keys(one).length);
    const who = operation["x-role"] || (needed ? "signed-in users" : "everybody");
    const often = limit ? `, ${limit.requests} requests in ${limit.seconds} s (${limit.name})` : "";
    item.append(make("p", {}, ...prose(operation.description)), make("p", { className: "note" }, `For ${who}${often}.`),
      tryForm(api, method, path, operation), make("h3", {}, "Answers"),
      ...Object.entries(operation.responses).map(([status, answer]) => showAnswer(api, status, answer)));
  });
  return item;
}

function show(api) {
  page("about").replaceChildren(`version ${api.info.version}. `, ...prose(api.info.description));
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(showOperation(api, path, method, operation));
    }
  }
  const sections = [...groups].map(([tag, items]) => make("section", {}, make("h2", {}, tag.replaceAll("_", " ")), ...items));
  const missing = (api["x-missing"] || []).map((name) => make("p", { className: "missing" }, `${name} is not reachable.`));
  page("operations").replaceChildren(...missing, ...sections);
}

page("find").addEventListener("input", ({ target }) => {
  for (const item of document.querySelectorAll("main > section > details")) {
    item.hidden = !item.dataset.text.includes(target.value.toLowerCase());
  }
});

fetch("/api/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => page("operations").replaceChildren(`The document cannot be read: ${error.message}`));
