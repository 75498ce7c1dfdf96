"""Host name lookups with a deadline, in their own threads, since the system's resolver has no time-out."""

import socket
import sys
from ipaddress import ip_address
from threading import Event, Lock, Thread
from typing import Any

from shared.client_address import Address, parse
from shared.concurrency import Bulkhead


class _Lookup:
    """One call of the resolver; identical lookups are coalesced."""

    def __init__(self) -> None:
        self.done = Event()
        self.addresses: list[Address] = []
        self.error: OSError | None = None


class NameLookup:
    """At most `threads` lookups at once, one for each name and `per_client` for each client.

    The C library's resolver cannot be interrupted. A lookup that hangs keeps its thread until the resolver gives up;
    the requests that wait for it end at their own deadline.
    """

    def __init__(self, threads: int, *, per_client: int | None = None) -> None:
        self._threads = threads
        self._pool: Any = None
        self._places = Bulkhead(
            threads, per_client=per_client, patience=0, detail="Too many names of hosts are being looked up."
        )
        self._lock = Lock()
        self._running: dict[str, _Lookup] = {}

    def addresses(self, host: str, seconds: float, client: str = "") -> list[Address]:
        """Return the addresses of a host; an IP address needs no lookup.

        Raises OSError, TimeoutError after `seconds`, or SERVICE_UNAVAILABLE if no thread is free.
        """
        if literal := parse(host):
            return [literal]
        lookup = self._join(host, client)
        if not lookup.done.wait(seconds):
            raise TimeoutError(f"the name {host} was not resolved in time")
        if lookup.error:
            raise OSError(*lookup.error.args)
        return lookup.addresses

    def _join(self, host: str, client: str) -> _Lookup:
        """Return the running lookup of this name, or start one."""
        with self._lock:
            if running := self._running.get(host):
                return running
            self._places.acquire(client)
            lookup = self._running[host] = _Lookup()
        Thread(target=self._run, args=(host, client, lookup), daemon=True).start()
        return lookup

    def _run(self, host: str, client: str, lookup: _Lookup) -> None:
        try:
            lookup.addresses = self._resolve(host)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded
            lookup.error = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self._places.release(client)
            with self._lock:
                del self._running[host]
            lookup.done.set()

    def _resolve(self, host: str) -> list[Address]:
        monkey = sys.modules.get("gevent.monkey")
        if not (monkey and monkey.is_module_patched("socket")):
            return _addresses(socket.getaddrinfo, host)
        # gevent would use the ten native threads that all lookups of the process share.
        if self._pool is None:
            from gevent.threadpool import ThreadPool

            self._pool = ThreadPool(self._threads)
        found = self._pool.apply(_outcome, (monkey.get_original("socket", "getaddrinfo"), host))
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]


def _outcome(getaddrinfo: Any, host: str) -> list[Address] | Exception:
    """Return an error instead of raising it: gevent prints the traceback of what is raised in its threads."""
    try:
        return _addresses(getaddrinfo, host)
    except (OSError, ValueError) as error:
        return error


def _addresses(getaddrinfo: Any, host: str) -> list[Address]:
    return [ip_address(found[4][0]) for found in getaddrinfo(host, None, type=socket.SOCK_STREAM)]
