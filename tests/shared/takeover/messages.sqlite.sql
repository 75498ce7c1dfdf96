PRAGMA foreign_keys = OFF;
CREATE TABLE "schema_migration" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "applied" DATETIME NOT NULL);
CREATE UNIQUE INDEX "schema_migration_name" ON "schema_migration" ("name");
CREATE TABLE "contact_message" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "name" VARCHAR(100) NOT NULL, "email" VARCHAR(254) NOT NULL, "subject" VARCHAR(150) NOT NULL, "message" TEXT NOT NULL, "source" VARCHAR(100), "user_agent" VARCHAR(200) NOT NULL, "status" VARCHAR(8) NOT NULL, "version" INTEGER NOT NULL, "created_at" TEXT NOT NULL);
CREATE INDEX "contact_message_created_at_id" ON "contact_message" ("created_at", "id");
CREATE INDEX "contact_message_status_created_at_id" ON "contact_message" ("status", "created_at", "id");
CREATE TABLE "feed_position" ("source" VARCHAR(64) NOT NULL PRIMARY KEY, "event_id" VARCHAR(64) NOT NULL);
CREATE TABLE "idempotency_key" ("user_id" VARCHAR(36) NOT NULL, "key" VARCHAR(255) NOT NULL, "fingerprint" VARCHAR(64) NOT NULL, "status" INTEGER NOT NULL, "headers" TEXT NOT NULL, "body" BLOB NOT NULL, "created_at" TEXT NOT NULL, PRIMARY KEY ("user_id", "key"));
CREATE INDEX "idempotency_key_created_at" ON "idempotency_key" ("created_at");
CREATE TABLE "mail" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "kind" VARCHAR(32) NOT NULL, "recipient" VARCHAR(254) NOT NULL, "subject" VARCHAR(200) NOT NULL, "body" TEXT NOT NULL, "created_at" TEXT NOT NULL, "expires_at" TEXT NOT NULL, "attempts" INTEGER NOT NULL, "next_attempt_at" TEXT, "sent_at" TEXT, "error" VARCHAR(200), reply_to VARCHAR(254));
CREATE INDEX "mail_next_attempt_at" ON "mail" ("next_attempt_at");
CREATE TABLE "liker" ("post_id" VARCHAR(36) NOT NULL, "user_id" VARCHAR(36) NOT NULL, "likes" INTEGER NOT NULL, "liked_at" TEXT NOT NULL, PRIMARY KEY ("post_id", "user_id"));
CREATE INDEX "liker_user_id" ON "liker" ("user_id");
CREATE INDEX "liker_post_id_liked_at" ON "liker" ("post_id", "liked_at");
CREATE TABLE "notification" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "user_id" VARCHAR(36) NOT NULL, "key" VARCHAR(64) NOT NULL, "type" VARCHAR(8) NOT NULL, "actor_id" VARCHAR(36), "post_id" VARCHAR(36), "post_title" VARCHAR(200), "comment_id" VARCHAR(36), "role" VARCHAR(9), "likes" INTEGER, "read" INTEGER NOT NULL, "version" INTEGER NOT NULL, "created_at" TEXT NOT NULL);
CREATE INDEX "notification_actor_id" ON "notification" ("actor_id");
CREATE INDEX "notification_post_id" ON "notification" ("post_id");
CREATE INDEX "notification_comment_id" ON "notification" ("comment_id");
CREATE UNIQUE INDEX "notification_user_id_key" ON "notification" ("user_id", "key");
CREATE INDEX "notification_user_id_created_at_id" ON "notification" ("user_id", "created_at", "id");
CREATE INDEX "notification_user_id_read_likes" ON "notification" ("user_id", "read", "likes");
CREATE TABLE "person" ("id" VARCHAR(36) NOT NULL PRIMARY KEY, "name" VARCHAR(200), "avatar" TEXT, "deleted" INTEGER NOT NULL, "told_at" TEXT);
CREATE TABLE "event" ("id" INTEGER NOT NULL PRIMARY KEY, "topic" VARCHAR(32) NOT NULL, "subject" VARCHAR(36) NOT NULL, "post_id" VARCHAR(36), "user_id" VARCHAR(36), "data" TEXT NOT NULL, "created_at" TEXT NOT NULL);
CREATE INDEX "event_subject" ON "event" ("subject");
CREATE INDEX "event_post_id" ON "event" ("post_id");
CREATE INDEX "event_user_id" ON "event" ("user_id");
CREATE INDEX "event_created_at" ON "event" ("created_at");
CREATE TABLE "event_head" ("id" INTEGER NOT NULL PRIMARY KEY, "last" INTEGER NOT NULL);
CREATE TABLE "event_ticket" ("digest" VARCHAR(64) NOT NULL PRIMARY KEY, "user_id" VARCHAR(36) NOT NULL, "session_id" VARCHAR(36) NOT NULL, "issued_at" REAL NOT NULL, "token_expires_at" INTEGER NOT NULL, "expires_at" TEXT NOT NULL);
CREATE INDEX "event_ticket_expires_at" ON "event_ticket" ("expires_at");
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (1, '0001_initial', '2026-12-01 16:18:59.297367');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (2, '0002_notifications', '2026-12-01 16:18:59.300368');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (3, '0003_events', '2026-12-01 16:18:59.302961');
INSERT INTO "schema_migration" ("id", "name", "applied") VALUES (4, '0004_reply_to', '2026-12-01 16:18:59.304470');
INSERT INTO "contact_message" ("id", "name", "email", "subject", "message", "source", "user_agent", "status", "version", "created_at") VALUES ('01a23266-fa71-70a5-b1f7-8cac1ff131bb', 'Ann', 'ann@example.org', 'A subject', 'What I wanted to say is this.', NULL, 'Werkzeug/3.1.9', 'new', 1, '2026-12-01T16:18:59.313891Z');
INSERT INTO "mail" ("id", "kind", "recipient", "subject", "body", "created_at", "expires_at", "attempts", "next_attempt_at", "sent_at", "error", "reply_to") VALUES ('01a23266-fa72-7389-80f7-c35c70c83824', 'contact', 'owner@localhost', 'Contact: A subject', 'Ann <ann@example.org> wrote:

What I wanted to say is this.

--
Source: not said
Browser: Werkzeug/3.1.9
Message: 01a23266-fa71-70a5-b1f7-8cac1ff131bb
', '2026-12-01T16:18:59.314191Z', '2026-12-04T16:18:59.314176Z', 0, '2026-12-01T16:18:59.314191Z', NULL, NULL, 'ann@example.org');
INSERT INTO "event_head" ("id", "last") VALUES (1, 0);
