"""The workers of a mtd.Pool, for who looks at the processes in multiprocessing.Pool's `_pool`."""


class WorkerHandle:
    """What `_pool` has for each worker, as far as multiprocessing's users look at it."""

    def __init__(self, pid):
        self.pid = pid

    def is_alive(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                return file.read().rpartition(") ")[2][:1] not in ("Z", "X")
        except OSError:
            return False

    @property
    def exitcode(self):
        """None while it lives; how it ended mtd tells ('mtctl why')."""
        return None if self.is_alive() else 0
