"""What can go wrong with a task, as exceptions."""


class Error(Exception):
    """Everything that this package raises of its own."""


class ConnectionLost(Error):
    """mtd does not answer, or went away and did not come back in time."""


class ProtocolError(Error):
    """What came is not what the protocol allows."""


class Refused(Error):
    """mtd did not take the task. `code` is a word such as QueueFull or NoSuchPool."""

    def __init__(self, code, message=""):
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self):
        return f"{self.message} ({self.code})" if self.message else self.code


class QueueFull(Refused):
    """The pool's queue has no room now; trying again later can succeed."""


class TaskError(Error):
    """The task ended without a result. `attempts` says how often it was tried."""

    def __init__(self, message="", *, type="", trace="", reason="", attempts=0, details=None):
        super().__init__(message)
        self.message = message
        self.type = type          # of the error, as the worker named it
        self.trace = trace        # where it happened, as the worker told it
        self.reason = reason      # mtd's word: failure, crash, timeout, …
        self.attempts = attempts
        self.details = details or {}

    def __reduce__(self):
        return _task_error, (self.__class__, self.message, self.type, self.trace, self.reason, self.attempts,
                             self.details)

    def __str__(self):
        kind = f"{self.type}: " if self.type else ""
        return f"{kind}{self.message}" if self.message or kind else (self.reason or "the task failed")


class TaskFailed(TaskError):
    """The worker said so, each time that it was tried."""


class WorkerLost(TaskError):
    """The worker died of the task: it was killed, it exited, or it broke the protocol."""


class TaskTimeout(TaskError):
    """The task took longer than it may."""


class TaskCancelled(TaskError):
    """The task was cancelled."""


class TaskExpired(TaskError):
    """The task waited longer than it may."""


def _task_error(kind, message, type, trace, reason, attempts, details):
    return kind(message, type=type, trace=trace, reason=reason, attempts=attempts, details=details)


class Fail(Exception):
    """For workers: ends the task as failed. `retry=False`: trying again is of no use. `delay`: seconds until then."""

    def __init__(self, message="", *, type="", retry=True, delay=None):
        super().__init__(message)
        self.message = message
        self.type = type or "Fail"
        self.retry = retry
        self.delay = delay
