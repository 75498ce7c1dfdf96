PRAGMA foreign_keys = OFF;
CREATE TABLE "schema_migration" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "applied" DATETIME NOT NULL);
CREATE UNIQUE INDEX "schema_migration_name" ON "schema_migration" ("name");
CREATE TABLE "fact" ("id" INTEGER NOT NULL PRIMARY KEY, "transaction" INTEGER NOT NULL, "type" VARCHAR(64) NOT NULL, "subject" VARCHAR(64) NOT NULL, "data" TEXT NOT NULL, "created_at" TEXT NOT NULL);
CREATE INDEX "fact_created_at" ON "fact" ("created_at");
CREATE INDEX "fact_transaction_id" ON "fact" ("transaction", "id");
CREATE TABLE "idempotency_key" ("user_id" VARCHAR(36) NOT NULL, "key" VARCHAR(255) NOT NULL, "fingerprint" VARCHAR(64) NOT NULL, "status" INTEGER NOT NULL, "headers" TEXT NOT NULL, "body" BLOB NOT NULL, "created_at" TEXT NOT NULL, PRIMARY KEY ("user_id", "key"));
CREATE INDEX "idempotency_key_created_at" ON "idempotency_key" ("created_at");
CREATE TABLE "user" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "name" VARCHAR(50) NOT NULL, "email" VARCHAR(254) NOT NULL, "email_folded" VARCHAR(254) NOT NULL, "password_hash" VARCHAR(200) NOT NULL, "role" VARCHAR(9) NOT NULL, "status" VARCHAR(9) NOT NULL, "email_verified" INTEGER NOT NULL, "version" INTEGER NOT NULL, "created_at" TEXT NOT NULL, "last_login" TEXT, name_folded VARCHAR(200) DEFAULT '' NOT NULL);
CREATE UNIQUE INDEX "user_email_folded" ON "user" ("email_folded");
CREATE TABLE "profile" ("user_id" VARCHAR(36) NOT NULL PRIMARY KEY, "bio" VARCHAR(500), "avatar" VARCHAR(36), FOREIGN KEY ("user_id") REFERENCES "user" ("id") ON DELETE CASCADE);
CREATE TABLE "session" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "user_id" VARCHAR(36) NOT NULL, "remember" INTEGER NOT NULL, "user_agent" VARCHAR(200) NOT NULL, "address" VARCHAR(64) NOT NULL, "created_at" TEXT NOT NULL, "last_used_at" TEXT NOT NULL, "expires_at" TEXT NOT NULL, "revoked_at" TEXT, cookie_only INTEGER DEFAULT FALSE NOT NULL, FOREIGN KEY ("user_id") REFERENCES "user" ("id") ON DELETE CASCADE);
CREATE INDEX "session_user_id" ON "session" ("user_id");
CREATE TABLE "refresh_token" ("hash" BLOB NOT NULL PRIMARY KEY, "session_id" VARCHAR(36) NOT NULL, "expires_at" TEXT NOT NULL, "replaced_at" TEXT, "successor" BLOB, FOREIGN KEY ("session_id") REFERENCES "session" ("id") ON DELETE CASCADE);
CREATE TABLE "link_request" ("email_folded" VARCHAR(254) NOT NULL, "purpose" VARCHAR(16) NOT NULL, "requested_at" TEXT NOT NULL, "pending" INTEGER NOT NULL, PRIMARY KEY ("email_folded", "purpose"));
CREATE INDEX "link_request_requested_at" ON "link_request" ("requested_at");
CREATE TABLE "mail" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "kind" VARCHAR(32) NOT NULL, "recipient" VARCHAR(254) NOT NULL, "subject" VARCHAR(200) NOT NULL, "body" TEXT NOT NULL, "created_at" TEXT NOT NULL, "expires_at" TEXT NOT NULL, "attempts" INTEGER NOT NULL, "next_attempt_at" TEXT, "sent_at" TEXT, "error" VARCHAR(200), reply_to VARCHAR(254));
CREATE INDEX "mail_next_attempt_at" ON "mail" ("next_attempt_at");
CREATE TABLE "mail_token" ("hash" BLOB NOT NULL PRIMARY KEY, "user_id" VARCHAR(36) NOT NULL, "purpose" VARCHAR(16) NOT NULL, "email_folded" VARCHAR(254) NOT NULL, "expires_at" TEXT NOT NULL, FOREIGN KEY ("user_id") REFERENCES "user" ("id") ON DELETE CASCADE);
CREATE INDEX "mail_token_user_id" ON "mail_token" ("user_id");
CREATE INDEX "mail_token_expires_at" ON "mail_token" ("expires_at");
CREATE TABLE "audit_event" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "kind" VARCHAR(40) NOT NULL, "user_id" VARCHAR(36), "actor_id" VARCHAR(36), "address" VARCHAR(64) NOT NULL, "request_id" VARCHAR(128) NOT NULL, "created_at" TEXT NOT NULL, "detail" TEXT NOT NULL);
CREATE INDEX "audit_event_created_at_id" ON "audit_event" ("created_at", "id");
CREATE INDEX "audit_event_kind_created_at_id" ON "audit_event" ("kind", "created_at", "id");
CREATE INDEX "audit_event_user_id_created_at_id" ON "audit_event" ("user_id", "created_at", "id");
CREATE TABLE "failed_login" ("id" INTEGER NOT NULL PRIMARY KEY, "account" VARCHAR(64) NOT NULL, "created_at" TEXT NOT NULL, source VARCHAR(64) DEFAULT '' NOT NULL);
CREATE INDEX "failed_login_created_at" ON "failed_login" ("created_at");
CREATE INDEX "failed_login_account_created_at" ON "failed_login" ("account", "created_at");
CREATE INDEX user_created_at_id ON "user" (created_at, id);
CREATE INDEX user_name_folded_id ON "user" (name_folded, id);
CREATE TABLE "signin_source" ("id" INTEGER NOT NULL PRIMARY KEY, "user_id" VARCHAR(36) NOT NULL, "digest" VARCHAR(64) NOT NULL, "kind" VARCHAR(7) NOT NULL, "last_used_at" TEXT NOT NULL, FOREIGN KEY ("user_id") REFERENCES "user" ("id") ON DELETE CASCADE);
CREATE INDEX "signin_source_last_used_at" ON "signin_source" ("last_used_at");
CREATE UNIQUE INDEX "signin_source_user_id_digest" ON "signin_source" ("user_id", "digest");
CREATE INDEX refresh_token_session_id_replaced_at ON refresh_token (session_id, replaced_at);
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (1, '0001_initial', '2026-12-01 16:18:54.629718');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (2, '0002_mail', '2026-12-01 16:18:54.633186');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (3, '0003_accounts', '2026-12-01 16:18:54.635946');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (4, '0004_domains', '2026-12-01 16:18:54.637883');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (5, '0006_reply_to', '2026-12-01 16:18:54.639225');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (6, '0007_signin_sources', '2026-12-01 16:18:54.641447');
INSERT INTO "fact" ("id", "transaction", "type", "subject", "data", "created_at") VALUES (1, 0, 'user.registered', '01a23266-e85b-756b-9b62-d83d53bf9b48', '{"id":"01a23266-e85b-756b-9b62-d83d53bf9b48","name":"Ann","avatar":null}', '2026-12-01T16:18:54.684991Z');
INSERT INTO "user" ("id", "name", "email", "email_folded", "password_hash", "role", "status", "email_verified", "version", "created_at", "last_login", "name_folded") VALUES ('01a23266-e85b-756b-9b62-d83d53bf9b48', 'Ann', 'n@bücher.example', 'n@xn--bcher-kva.example', '!', 'user', 'active', 0, 1, '2026-12-01T16:18:54.683994Z', NULL, 'ann');
INSERT INTO "profile" ("user_id", "bio", "avatar") VALUES ('01a23266-e85b-756b-9b62-d83d53bf9b48', NULL, NULL);
INSERT INTO "session" ("id", "user_id", "remember", "user_agent", "address", "created_at", "last_used_at", "expires_at", "revoked_at", "cookie_only") VALUES ('01a23266-e85e-7be8-83a2-3607392aaf45', '01a23266-e85b-756b-9b62-d83d53bf9b48', 0, 'Werkzeug/3.1.9', '127.0.0.1', '2026-12-01T16:18:54.686109Z', '2026-12-01T16:18:54.686109Z', '2026-12-08T16:18:54.686109Z', NULL, 0);
INSERT INTO "refresh_token" ("hash", "session_id", "expires_at", "replaced_at", "successor") VALUES (X'743538BBBA5C4B8434B08EF7BD574ED17F0CC0FEF160A1D481FFF8FC5894E704', '01a23266-e85e-7be8-83a2-3607392aaf45', '2026-12-02T16:18:54.686109Z', NULL, NULL);
INSERT INTO "link_request" ("email_folded", "purpose", "requested_at", "pending") VALUES ('n@xn--bcher-kva.example', 'verify', '2026-12-01T16:18:54.685344Z', 0);
INSERT INTO "mail" ("id", "kind", "recipient", "subject", "body", "created_at", "expires_at", "attempts", "next_attempt_at", "sent_at", "error", "reply_to") VALUES ('01a23266-e85d-7b1c-90bf-641eba3b3e53', 'verify', 'n@bücher.example', 'Confirm your email address', 'Somebody, probably you, made an account with this address.

Confirm it within 24 hours:

http://localhost:8000/verify-email?token=qFzalpIRPJwku0HPFD2e4DjjdlCqgB0naKW1aUREItI

If it was not you, ignore this mail.
', '2026-12-01T16:18:54.685898Z', '2026-12-02T16:18:54.685883Z', 0, '2026-12-01T16:18:54.685899Z', NULL, NULL, NULL);
INSERT INTO "mail_token" ("hash", "user_id", "purpose", "email_folded", "expires_at") VALUES (X'54419443E99C29FCA487C793EDB0F0C08BBCD37025A6E4A093365A79FA401E4A', '01a23266-e85b-756b-9b62-d83d53bf9b48', 'verify', 'n@xn--bcher-kva.example', '2026-12-02T16:18:54.685639Z');
INSERT INTO "audit_event" ("id", "kind", "user_id", "actor_id", "address", "request_id", "created_at", "detail") VALUES ('01a23266-e85d-72e4-80f8-9021eebeb291', 'registered', '01a23266-e85b-756b-9b62-d83d53bf9b48', NULL, '127.0.0.1', 'ccc8c83235388367cef22fcd', '2026-12-01T16:18:54.685159Z', '{}');
INSERT INTO "signin_source" ("id", "user_id", "digest", "kind", "last_used_at") VALUES (1, '01a23266-e85b-756b-9b62-d83d53bf9b48', 'f176d87681e622ca6106bdc2f159bdde86e4eaef60f068276fef45de764d358b', 'address', '2026-12-01T16:18:54.686500Z');
