"""What the processes of mtd itself may do."""
import os

from harness import Mtd, descendants, pool

WORKER = ["/usr/bin/python3", "-c", "import socket, os; socket.socket(fileno=int(os.environ['MTD_TASK_FD'])).recv(1)"]


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_the_broker_has_no_privileges_and_cannot_be_looked_into(root):
    with Mtd({"p": pool(WORKER, tasks={}, restart="never")}) as mtd:
        brokers = [pid for pid in descendants(mtd.keeper) if status_of(pid)["Name"] == "mtd-broker"]
        assert len(brokers) == 1
        facts = status_of(brokers[0])
        assert "0" not in facts["Uid"].split() and "0" not in facts["Gid"].split() and facts["Groups"].strip() == ""
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(facts[name], 16) == 0, name
        assert facts["NoNewPrivs"] == "1"
        # What a process that may not be dumped shows in /proc belongs to root, not to its user.
        assert os.stat(f"/proc/{brokers[0]}/environ").st_uid == 0
