"""Import what several services need, so that processes that are forked afterwards share its memory."""

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
gc.freeze()  # the collector would write to every page
