"""Whether the workers of a private pool become ready."""
import threading
import time

from . import varlink
from .errors import ConnectionLost, Error, WorkerLost

CONNECT_SECONDS = 30
BROKEN_STARTS = 5        # so many starts of each worker, none of them ready: the pool is broken


class StartWatch:
    """Follows mtd's events: a pool whose workers never become ready is told to whoever waits for it."""

    def __init__(self, private, session, processes):
        self._private = private
        self._where = where = private.runtime_directory
        self._session = session
        self._processes = processes
        self._failures = 0    # since one was ready
        self._were_ready = set()
        self.all_were_ready = threading.Event()
        self._calls = varlink.Calls(varlink.MANAGER, where)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="mtd-pool-starts", daemon=True)
        self._thread.start()

    def stop(self):
        self._is_over = True
        self.all_were_ready.set()
        self._calls.shut()
        self._thread.join()

    def _run(self):
        try:
            self._follow()
        finally:
            self._calls.close()
            self.all_were_ready.set()  # or never will be

    def _follow(self):
        cursor = "0"
        while not self._is_over:
            try:
                for part in self._calls.call_more("Events", since=cursor, follow=True):
                    cursor = part.get("cursor") or cursor
                    for event in part.get("events", []):
                        self._take(event)
            except (OSError, Error):
                if not self._connect_again():
                    return

    def _take(self, event):
        if event.get("event") == "ready":
            self._failures = 0
            self._were_ready.add(event.get("worker"))
            if len(self._were_ready) >= self._processes:
                self.all_were_ready.set()
        elif event.get("event") == "exited" and not (event.get("last_exit") or {}).get("planned"):
            self._failures += 1
            if self._failures >= BROKEN_STARTS * self._processes:
                self._session.abort(WorkerLost(_how_they_end(event), reason="start"))
                self.all_were_ready.set()

    def _connect_again(self):
        """The supervisor died; its successor is there in a moment, unless all of mtd has died."""
        deadline = time.monotonic() + CONNECT_SECONDS
        self._calls.close()
        while not self._is_over and time.monotonic() < deadline:
            try:
                self._calls = varlink.Calls(varlink.MANAGER, self._where)
                return True
            except Error:
                if self._private.wait_for_end(0.05) and not self._is_over:
                    self._session.abort(ConnectionLost("the private mtd of this pool has ended: it was killed, or what it "
                                                       "said stands on the standard error output"))
                    return False
        return False


def _how_they_end(event):
    end = event.get("last_exit") or {}
    how = f"signal {end['signal']}" if end.get("signal") else f"exit status {end.get('code')}"
    return f"no worker of the pool becomes ready; the last one ended with {how}"
