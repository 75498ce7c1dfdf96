"""Import what several services need, so that processes that are forked afterwards share its memory."""

import gc

import shared.app
import shared.csrf
import shared.database_readers
import shared.emails
import shared.etag
import shared.gunicorn
import shared.idempotency
import shared.mail
import shared.mail_transport
import shared.pagination
import shared.workers.threads  # noqa: F401 (all of them: to import is the purpose)

gc.collect()
gc.freeze()  # the collector would write to every page
