"""The event stream: numbered, ordered, nothing missed."""
import json
import subprocess

from harness import BIN, Events, Mtd, Varlink, pool


def numbers(events):
    return [int(e["cursor"].rpartition(":")[2]) for e in events]


def test_numbered_without_gap_and_in_order(actor):
    with Mtd({"web": pool([actor, "wait"], workers=5)}) as mtd:
        mtd.wait_ready()
        for _ in range(5):
            mtd.ctl("restart", "web")
        mtd.events.drain()
        seen = numbers(mtd.events.seen)
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        life = [e["event"] for e in mtd.events.seen if e.get("worker") == "web/0" and e["incarnation"] == 1]
        assert [x for x in life if x in ("spawned", "executed", "ready", "exited")] == ["spawned", "executed", "ready", "exited"]


def test_since_a_cursor_continues_there(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        mtd.wait_ready()
        mtd.events.drain()
        last = mtd.events.seen[-1]["cursor"]
        mtd.ctl("scale", "web", "3")
        mtd.events.expect(event="ready", worker="web/2")
        mtd.events.drain()
        other = Events(mtd.socket, since=last)
        other.expect(event="ready", worker="web/2")
        assert numbers(other.seen)[0] == numbers(mtd.events.seen[-1:] and [{"cursor": last}])[0] + 1
        other.close()


def test_two_readers_see_the_same(actor):
    with Mtd({"web": pool([actor, "exit=1"], workers=3)}) as mtd:
        other = Events(mtd.socket)
        mtd.events.expect(event="exited", incarnation=4)
        other.expect(event="exited", incarnation=4)
        common = min(len(mtd.events.seen), len(other.seen))
        assert mtd.events.seen[:common] == other.seen[:common]
        other.close()


def test_a_cursor_of_another_life_is_answered_with_what_is_kept(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        with Varlink(mtd.socket) as client:
            client.send("Events", {"since": "1234567890abcdef:7", "follow": False}, more=True)
            assert client.receive() is not None


def test_without_follow_the_stream_ends(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        with Varlink(mtd.socket) as client:
            client.send("Events", {"since": "0"}, more=True)
            events, more = [], True
            while more:
                reply = client.receive()
                events += reply["parameters"].get("events", [])
                more = reply.get("continues", False)
        assert any(e["event"] == "ready" for e in events)


def test_selected_pools_only(actor):
    with Mtd({"a": pool([actor, "wait"]), "b": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        with Varlink(mtd.socket) as client:
            client.send("Events", {"since": "0", "select": ["a"]}, more=True)
            seen, more = [], True
            while more:
                reply = client.receive()
                seen += reply["parameters"].get("events", [])
                more = reply.get("continues", False)
        assert {e.get("pool") for e in seen} == {"a"}


def test_follow_from_mtctl_prints_as_it_happens(actor):
    with Mtd({"web": pool([actor, "wait"])}) as mtd:
        mtd.wait_ready()
        follower = subprocess.Popen([BIN + "/mtctl", "-s", mtd.socket, "-o", "jsonl", "events", "-f", "--since", "0"],
                                    stdout=subprocess.PIPE, text=True)
        try:
            seen = [json.loads(follower.stdout.readline())]
            victim = mtd.pids("web")[0]
            mtd.kill(victim)
            while not any(e["event"] == "exited" and e["pid"] == victim for e in seen):
                seen.append(json.loads(follower.stdout.readline()))
        finally:
            follower.terminate()
            follower.wait()
            follower.stdout.close()


def test_every_restart_is_one_exit_and_one_start(actor):
    with Mtd({"web": pool([actor, "exit=1"], workers=4, backoff={"initial": 0, "max": 0, "jitter": 0}, crash_limit={"count": 1000000})}) as mtd:
        mtd.until(lambda: mtd.pool("web")["restarts"] >= 300, 40)
        mtd.ctl("stop", "--now", "web")
        mtd.events.drain()
        spawned = [(e["worker"], e["incarnation"]) for e in mtd.events.seen if e["event"] == "spawned"]
        exited = [(e["worker"], e["incarnation"]) for e in mtd.events.seen if e["event"] == "exited"]
        assert not any(e["event"] == "lagged" for e in mtd.events.seen)
        assert sorted(spawned) == sorted(exited) and len(set(exited)) == len(exited)
