/** Send a bearer token without the browser's cookies, otherwise the cookies with the session's CSRF token. */
function prepare(request) {
  const url = new URL(request.url, location);
  url.pathname = url.pathname.replace(/%2F/gi, "/"); // the gateway refuses an encoded slash; paths of files have slashes
  request.url = url.href;
  request.cache = "no-store";
  const csrf = document.cookie.match(/(?:^|; )csrfToken=([^;]+)/);
  if (request.headers.Authorization) request.credentials = "omit";
  else if (csrf) request.headers["X-CSRF-Token"] = csrf[1];
  return request;
}

async function show() {
  const response = await fetch("/api/openapi.json");
  if (!response.ok) throw new Error(`status ${response.status}`);
  const spec = await response.json();
  spec.servers = [{ url: location.origin }]; // the policy of this page allows no other
  const missing = (spec["x-missing"] || []).join(", ");
  if (missing) spec.info.description += `\n\nNot reachable, so not shown here: ${missing}.`;
  SwaggerUIBundle({
    spec,
    dom_id: "#docs",
    deepLinking: true,
    filter: true,
    requestInterceptor: prepare,
    showExtensions: true,
    validatorUrl: null,
  });
}

show().catch((error) => document.getElementById("docs").append(`The document cannot be read: ${error.message}`));
