"""Import the modules that several services need, so that forked processes share their memory (copy-on-write)."""

# ruff: noqa: F401 (to import is the purpose)
import gc

import shared.app
import shared.database.idempotency
import shared.database.pagination
import shared.feed.database_consumer
import shared.identity.csrf
import shared.mail.addresses
import shared.mail.outbox
import shared.mail.smtp
import shared.server.run
import shared.server.thread_worker
import shared.web.etag

gc.collect()
gc.freeze()  # garbage collection would write to all pages, and so copy them
