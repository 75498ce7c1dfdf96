// A disk that is full in the middle of a file: SMALL_DISK is mounted with 6 MiB.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { newUser, noting, pdf } from "./stack.mjs";

test("a full disk keeps what has arrived, and the next try goes on from there", async () => {
  const send = noting();
  const pc = await newUser({ fetch: send });
  const file = pdf(9_000_000);
  await assert.rejects(pc.upload(file), (error) => error.is("STORAGE_FULL"));
  const patches = send.sent.filter(({ method }) => method === "PATCH");
  assert.equal(patches.filter(({ status }) => status === 507).length, 1);
  const kept = patches.filter(({ status }) => status === 204).length;
  assert.ok(kept > 0);
  execFileSync("mount", ["-o", "remount,size=64m", process.env.SMALL_DISK]);
  send.sent.length = 0;
  const progress = [];
  const upload = await pc.upload(file, { onProgress: (sent) => progress.push(sent) });
  assert.equal(upload.size, file.size);
  assert.ok(progress[0] > 0);
  assert.equal(send.of("/api/uploads/tus").length, 0);
});
