"""mtd for Python: workers, clients, and a multiprocessing.Pool that cannot hang.

* Worker: `@mtd.task` and `mtd.run()`, see mtd.worker.
* Client: `mtd.Client().submit("pool", …)` gives futures, see mtd.client.
* Pool: `mtd.Pool(8).map(function, things)`, as with multiprocessing.Pool, see mtd.pool.

Standard library only, Python 3.9 or later, Linux.
"""
from .client import Client, Future
from .errors import (ConnectionLost, Error, Fail, ProtocolError, QueueFull, Refused, TaskCancelled, TaskError,
                     TaskExpired, TaskFailed, TaskTimeout, WorkerLost)
from .pool import Pool
from .worker import Task, Worker, current, run, task

__version__ = "0.1.0"
__all__ = ["Client", "ConnectionLost", "Error", "Fail", "Future", "Pool", "ProtocolError", "QueueFull", "Refused",
           "Task", "TaskCancelled", "TaskError", "TaskExpired", "TaskFailed", "TaskTimeout", "Worker", "WorkerLost",
           "current", "run", "task"]
