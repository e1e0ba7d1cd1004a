"""python3 -m mtd.pool_worker: a worker for mtd.Pool(socket=…, pool=…), as the command of a pool in the configuration.

The functions that are called must be importable here: set "cwd" or PYTHONPATH in the pool's "env".
"""
import sys

from mtd._pool_worker import main

if __name__ == "__main__":
    sys.path.insert(0, "")
    main()
