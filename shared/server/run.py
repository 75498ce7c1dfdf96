"""Run one service under gunicorn, in this process, with settings that are safe on an open port."""

import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from gunicorn import glogging, systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from shared.network.sockets import BACKLOG, listen
from shared.server.error_response import DRAIN, LAST_ANSWERS
from shared.server.lifecycle import lifecycle_of
from shared.server.os_tuning import end_with_parent, share_freed_memory
from shared.server.request_reader import ReadTimeouts
from shared.settings import BaseConfig
from shared.start_error import StartError
from shared.telemetry import json_log as kit_logging
from shared.telemetry import metrics
from shared.telemetry.metric_files import IN_MEMORY

THREADS = 8
GRACE = 10  # seconds that requests under way have at a stop
BLOCKED = 20  # seconds after which a worker whose loop stands still is killed
LOADING = 40  # seconds more while it loads its application, which on a busy machine takes a while
MAX_FILES = 16_384  # open files of a process
_logger = logging.getLogger("postern.server")


class Logger(glogging.Logger):
    """Write gunicorn's own news as the kit's JSON lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Master(Arbiter):
    """gunicorn's master, which ends gracefully on Ctrl-C and when the process that handed down its socket is gone.

    SIGHUP replaces its workers. The old ones drain: they get `DRAIN` in place of SIGTERM until the master stops.
    """

    def __init__(self, app: BaseApplication) -> None:
        self.parent = os.getppid()
        self.replaced_age = 0  # workers up to this age drain
        self.is_stopping = False
        super().__init__(app)

    def reload(self) -> None:
        self.replaced_age = self.worker_age
        super().reload()

    def stop(self, graceful: bool = True) -> None:
        self.is_stopping = True
        super().stop(graceful)

    def kill_worker(self, pid: int, sig: int) -> None:
        worker = self.WORKERS.get(pid)
        drains = hasattr(worker, "handle_drain") and worker.age <= self.replaced_age and not self.is_stopping
        super().kill_worker(pid, DRAIN if drains and sig == signal.SIGTERM else sig)

    def handle_int(self) -> None:
        self.handle_term()

    def murder_workers(self) -> None:
        if self.systemd and os.getppid() != self.parent:
            raise StopIteration
        super().murder_workers()


class Application(BaseApplication):
    """One service as gunicorn sees it."""

    def __init__(self, load: Callable[[], Any], settings: dict[str, Any], patience: ReadTimeouts, drain: float) -> None:
        self.patience = patience
        self.drain = drain
        self._load = load
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)
        # Kept as attributes, since gunicorn looks settings up while it serves, and takes a while each time.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})

    def load(self) -> Any:
        return self._load()

    def run(self) -> None:
        Master(self).run()


def serve(
    name: str,
    load: Callable[[], Any],
    config: BaseConfig,
    *,
    port: int,
    events: bool = False,
    processes: int = 1,
    threads: int = THREADS,
    reload: bool = False,
    patience: ReadTimeouts | None = None,
    drain: float = GRACE,
) -> None:
    """Serve the WSGI application that `load` returns, until SIGTERM or SIGINT; raise StartError.

    Listens on the socket that was handed down (fd 3, as systemd does it), else on HOST and `port`. With
    `events` a gevent loop serves it, which loads the application in each process after its patches; on SIGHUP requests
    under way have `drain` seconds.
    """
    kit_logging.configure(name, config.log_level)
    metrics.share()
    _raise_file_limit()
    share_freed_memory()
    settings = _settings(name, config, events=events, processes=processes, reload=reload)
    if not events:
        settings["threads"] = threads
    if not systemd.listen_fds(unset_environment=False):
        settings["bind"] = f"fd://{listen(config.host, port, f'{name.upper()}_PORT').detach()}"
    try:
        Application(load, settings, patience or ReadTimeouts(), drain).run()
    except StartError:
        raise
    except Exception:
        _logger.critical("%s cannot start", name, exc_info=True)
        sys.exit(1)


def _settings(name: str, config: BaseConfig, *, events: bool, processes: int, reload: bool) -> dict[str, Any]:
    settings = {
        "proc_name": name,
        "backlog": BACKLOG,
        "workers": processes,
        "reload": reload,
        "graceful_timeout": GRACE + LAST_ANSWERS,
        "timeout": BLOCKED,
        "control_socket_disable": True,  # its path is one for all gunicorns of a user
        "logger_class": Logger,
        "loglevel": {"debug": "info", "info": "warning"}.get(config.log_level, config.log_level),
        "worker_tmp_dir": IN_MEMORY and str(IN_MEMORY),  # heartbeats off the disk
        "pre_fork": _before_fork,
        "post_fork": _after_fork,
        "post_worker_init": _start_background,
        "worker_exit": _stop_background,
        "child_exit": _forget_worker,
        "on_exit": _remove_metrics,
    }
    return settings | (_EVENTS if events else _THREADS | {"preload_app": not reload})


_THREADS = {
    "worker_class": "shared.server.thread_worker.ThreadWorker",
    "worker_connections": 1000,
    "keepalive": 75,  # longer than the gateway keeps an idle connection
}
# No preload: gevent patches after the fork, and breaks what was imported before.
_EVENTS = {"worker_class": "shared.server.gevent_worker.EventWorker", "worker_connections": 4000, "keepalive": 65}


def _before_fork(master: Arbiter, worker: Any) -> None:
    """Keep what is loaded out of the collector's sight, so that the workers go on sharing its pages."""
    gc.freeze()
    taken = {known.metrics_part for known in master.WORKERS.values()}
    worker.metrics_part = next(number for number in count() if number not in taken)


def _after_fork(_master: Arbiter, worker: Any) -> None:
    """Stop the worker when its master is killed; gunicorn's own look comes once a second."""
    end_with_parent(worker.ppid)
    loaded = time.monotonic() + LOADING
    os.utime(worker.tmp.fileno(), (loaded, loaded))  # the next sign of life sets it right
    metrics.take_part(worker.metrics_part)


def _start_background(worker: Any) -> None:
    """Start what runs beside the requests; look for garbage more seldom, as what is loaded by now stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    for start in lifecycle_of(worker.wsgi).on_start:
        start()


def _stop_background(_master: Arbiter, worker: Any) -> None:
    if worker.pid != os.getpid():
        return
    for stop in lifecycle_of(getattr(worker, "wsgi", None)).on_exit:
        try:
            stop()
        except Exception:
            _logger.exception("a part did not stop")


def _forget_worker(_master: Arbiter, worker: Any) -> None:
    metrics.leave_part(worker.metrics_part)


def _remove_metrics(_master: Arbiter) -> None:
    metrics.remove()


def _raise_file_limit() -> None:
    """Use the file descriptors that this user may have: each client takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
