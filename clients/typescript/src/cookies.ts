/** Cookies that a page can read. */

/** Return the value of a cookie in a `Cookie` header or in `document.cookie`. */
export function cookieValue(cookies: string, name: string): string | undefined {
  for (const pair of cookies.split(/; */)) {
    if (pair.startsWith(`${name}=`)) return pair.slice(name.length + 1);
  }
  return undefined;
}

/** Return the CSRF token of this page's session; it is there as long as the session may be. */
export function csrfToken(): string | undefined {
  return typeof document === "undefined" ? undefined : cookieValue(document.cookie, "csrfToken") || undefined;
}
