/** Lists, page by page. */
import type { paths } from "./schema.js";

type Json<Answer> = Answer extends { content: { "application/json": infer Body } } ? Body : never;
type ListBody<Path extends keyof paths> = paths[Path] extends { get: { responses: { 200: infer Answer } } }
  ? Json<Answer>
  : never;
interface ListShape {
  data: unknown[];
  pagination: { hasMore: boolean; nextCursor: string | null; page: number | null };
}

/** The paths that answer with a list. */
export type ListPath = { [Path in keyof paths]: ListBody<Path> extends ListShape ? Path : never }[keyof paths];
export type Page<Path extends keyof paths> = ListBody<Path>;
export type Item<Path extends keyof paths> = ListBody<Path> extends { data: (infer Each)[] } ? Each : never;
export type ListQuery<Path extends keyof paths> = paths[Path] extends { get: { parameters: { query?: infer Query } } }
  ? Omit<NonNullable<Query>, "page" | "cursor">
  : never;
type PathParameters<Path extends keyof paths> = paths[Path] extends { get: { parameters: { path: infer Parameters } } }
  ? Parameters
  : never;
/** What a list needs besides its query: the parameters of its path, if it has any. */
export type ListOptions<Path extends keyof paths> = { signal?: AbortSignal } & ([PathParameters<Path>] extends [never]
  ? { path?: never }
  : { path: PathParameters<Path> });
export type ListArguments<Path extends keyof paths> = [PathParameters<Path>] extends [never]
  ? [query?: ListQuery<Path>, options?: ListOptions<Path>]
  : [query: ListQuery<Path>, options: ListOptions<Path>];

/** Read all pages of a list; each but the first from the cursor of the one before. */
export async function* allPages<Path extends ListPath>(
  read: (query: object) => Promise<Page<Path>>,
  query: object = {},
): AsyncGenerator<Page<Path>, void, undefined> {
  let place: { cursor?: string; page?: number } = {};
  for (;;) {
    const page = await read({ ...query, ...place });
    yield page;
    const { hasMore, nextCursor, page: number } = (page as ListShape).pagination;
    if (!hasMore) return;
    place = nextCursor ? { cursor: nextCursor } : { page: (number ?? 1) + 1 };
  }
}
