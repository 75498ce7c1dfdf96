// What a front end writes against the types that openapi-typescript makes of the document.
import type { components, paths } from "./schema";

type Json<A> = A extends { content: { "application/json": infer Body } } ? Body : never;
type Failed<A> = A extends { content: { "application/problem+json": infer Body } } ? Body : never;
type Responses<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends { responses: infer R } ? R : never;
type Schemas = components["schemas"];

export type ApiResult<T> =
  | { success: true; data: T }
  | { success: false; code: string; detail: string; errors?: { [field: string]: string[] } };

type Created = Responses<"/api/posts", "post">;
export function result(answer: Json<Created[201]> | Failed<Created[400]>): ApiResult<Schemas["PostsPost"]> {
  return answer.success ? { success: true, data: answer.data } : answer;
}

export function sentence(problem: Failed<Created[400]> | Failed<Created[403]> | Failed<Created[409]>): string {
  switch (problem.code) {
    case "CSRF_FAILED": return "reload the page";
    case "VALIDATION_ERROR": return Object.keys(problem.errors ?? {}).join();
    case "CONFLICT": return "it is being sent already";
    case "BAD_REQUEST":
    case "INVALID_JSON": return problem.detail;
    // @ts-expect-error no other code is possible, so none is forgotten
    case "EMAIL_TAKEN": return "";
  }
}

export const token = (answer: Json<Responses<"/api/auth/login", "post">[200]>): string => answer.data.accessToken;
export const renewed = (answer: Json<Responses<"/api/auth/refresh", "post">[200]>): number => answer.data.expiresIn;
export const isAdmin = (user: Schemas["AuthUser"]): boolean => user.role === "admin";
// @ts-expect-error there is no such role
export const isOwner = (user: Schemas["AuthUser"]): boolean => user.role === "owner";

export function told(notification: Schemas["MessagesNotification"]): string {
  if (notification.type === "comment" || notification.type === "reply") return notification.commentId;
  if (notification.type === "like") return `${notification.post.id} ${notification.likes}`;
  return notification.type === "role" ? notification.role : notification.type;
}

export function heard(event: Schemas["MessagesEvent"]): string {
  if (event.type === "post.published") return event.slug;
  return event.type === "comment.deleted" ? event.postId : event.type;
}

export const post: Schemas["PostsPostCreate"] = { title: "A title", content: "What is long enough." };
export const change: Schemas["PostsPostChange"] = { excerpt: null };
export const detail = (event: Schemas["AuthAuditEvent"]): unknown => event.detail["keptBy"];
