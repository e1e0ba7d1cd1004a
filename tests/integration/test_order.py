"""Order between pools: what waits for what, what goes first, and what happens when a dependency is lost."""
import os
import signal

import pytest
from harness import Mtd, StartFailed, eventually, is_alive, pool, wait_gone


def order_of(mtd, event, *names):
    """The pools in the order in which this first happened to them."""
    mtd.events.drain()
    first = {name: next((i for i, e in enumerate(mtd.events.seen) if e["event"] == event and e.get("pool") == name), None)
             for name in names}
    assert None not in first.values(), first
    return sorted(first, key=first.get)


def note(mtd, name):
    return mtd.pool(name)["note"]


def test_a_pool_waits_for_what_it_depends_on(actor):
    """db is ready by USR2 only: nothing of web is started before, and status and why say what it waits for."""
    with Mtd({"db": pool([actor, "report=db", "wait"], ready="notify"),
              "web": pool([actor, "report=web", "wait"], depends_on={"db": "ready"})}) as mtd:
        db = mtd.reports.expect("db")["pid"]
        web = mtd.pool("web")
        assert web["state"] == "starting" and web["workers"][0]["pid"] is None
        assert web["note"] == "waits for db to be ready" and web["waits_for"] == "waits for db to be ready"
        assert "waits for db to be ready" in mtd.ctl("why", "web").stdout
        mtd.ctl("is-ready", "web", code=3)
        os.kill(db, signal.SIGUSR2)
        mtd.reports.expect("web")
        mtd.ctl("wait", "web", "--for", "ready")
        assert mtd.pool("web")["waits_for"] is None and note(mtd, "web") == ""


def test_started_is_enough_where_it_is_asked_for(actor):
    with Mtd({"db": pool([actor, "wait"], ready="notify"),
              "web": pool([actor, "report=web", "wait"], depends_on={"db": "started"})}) as mtd:
        mtd.reports.expect("web")
        assert mtd.pool("db")["ready"] == 0


def test_completed_a_job_before_a_service(actor):
    with Mtd({"job": pool([actor, "report=job", "sleep=200"], restart="never"),
              "web": pool([actor, "report=web", "wait"], depends_on={"job": "completed"})}) as mtd:
        mtd.reports.expect("web")
        assert mtd.pool("job")["state"] == "completed"
        assert order_of(mtd, "executed", "job", "web") == ["job", "web"]
        exited = next(i for i, e in enumerate(mtd.events.seen) if e["event"] == "exited" and e["pool"] == "job")
        spawned = next(i for i, e in enumerate(mtd.events.seen) if e["event"] == "spawned" and e["pool"] == "web")
        assert exited < spawned
        # The death of the supervisor does not run the job again.
        mtd.kill_supervisor()
        assert mtd.pool("job")["state"] == "completed" and mtd.pool("web")["ready"] == 1
        assert not [r for r in mtd.reports.seen if r["what"] == "job" and r["incarnation"] != "1"]


def test_a_job_that_fails_holds_its_dependents_and_start_says_so(actor):
    with Mtd({"job": pool([actor, "exit=3"], restart="never"), "web": pool([actor, "wait"], depends_on={"job": "completed"})}) as mtd:
        mtd.wait_pool("job", state="failed")
        mtd.until(lambda: "waits for job to be completed (it is failed)" in note(mtd, "web"))
        done = mtd.ctl("start", "web", code=1)
        assert "waits for job to be completed" in done.stderr, done.stderr
        assert mtd.workers("web")[0]["incarnation"] == 0, "nothing was ever started"
        mtd.pools["job"]["command"] = [actor, "exit=0"]
        mtd.write_config()
        mtd.ctl("reload")
        mtd.ctl("restart", "job")
        mtd.wait_pool("web", ready=1)


def test_a_chain_starts_in_order_and_stops_in_reverse(actor):
    with Mtd({"c": pool([actor, "wait"]), "b": pool([actor, "wait"], depends_on={"c": "ready"}),
              "a": pool([actor, "wait"], depends_on={"b": "ready"})}) as mtd:
        mtd.wait_ready()
        assert order_of(mtd, "ready", "a", "b", "c") == ["c", "b", "a"]
        mtd.ctl("stop", "--all")
        mtd.events.drain()
        ends = [e["pool"] for e in mtd.events.seen if e["event"] == "exited"]
        begins = [(e["event"], e["pool"]) for e in mtd.events.seen if e["event"] in ("exited", "stopping")]
        assert ends == ["a", "b", "c"]
        assert begins.index(("exited", "a")) < begins.index(("stopping", "b"))
        mtd.ctl("start", "--all")


def test_the_end_of_mtd_stops_in_reverse(actor):
    with Mtd({"db": pool([actor, "report=db", "wait"]),
              "web": pool([actor, "report=web", "ignore=15", "wait"], depends_on={"db": "ready"})}) as mtd:
        db, web = mtd.reports.expect("db")["pid"], mtd.reports.expect("web")["pid"]
        start = len(mtd.events.drain())
        os.kill(mtd.keeper, signal.SIGTERM)
        mtd.events.expect(event="stopping", pool="web", start=start)
        assert is_alive(db), "what is needed is still there"
        assert wait_gone(web) and wait_gone(db) and wait_gone(mtd.process.pid)


def test_a_dependent_that_is_kept_goes_on_and_says_what_it_has_lost(actor):
    with Mtd({"db": pool([actor, "wait"]), "web": pool([actor, "wait"], depends_on={"db": "ready"})}) as mtd:
        mtd.wait_ready()
        before = mtd.pids("web")
        mtd.ctl("stop", "db")
        mtd.until(lambda: note(mtd, "web") == "db is stopped")
        mtd.events.expect(event="dependency_lost", pool="web")
        assert mtd.pids("web") == before
        mtd.kill(before[0])  # what runs is kept running
        mtd.until(lambda: mtd.pool("web")["restarts"] == 1 and mtd.pool("web")["ready"] == 1)
        # Once stopped it waits again.
        mtd.ctl("stop", "web")
        done = mtd.ctl("start", "web", code=1)
        assert "waits for db to be ready (it is stopped)" in done.stderr, done.stderr
        mtd.ctl("start", "db")
        mtd.wait_pool("web", ready=1, note="")


def test_a_dependent_that_cannot_be_without_is_ended_and_comes_back(actor):
    keys = {"depends_on": {"db": {"until": "ready", "if_lost": "stop"}}}
    with Mtd({"db": pool([actor, "wait"]), "web": pool([actor, "wait"], **keys)}) as mtd:
        mtd.wait_ready()
        db, web = mtd.pids("db")[0], mtd.pids("web")[0]
        mtd.ctl("stop", "db")
        assert not is_alive(web) and not is_alive(db)
        exits = [e["pool"] for e in mtd.events.drain() if e["event"] == "exited"]
        assert exits == ["web", "db"], "what needs it goes first"
        assert mtd.pool("web")["state"] == "starting" and mtd.pool("web")["restarts"] == 0
        mtd.ctl("start", "db")
        mtd.wait_pool("web", ready=1)
        # One death with a restart at once is no loss.
        web = mtd.pids("web")
        mtd.kill(mtd.pids("db")[0])
        mtd.until(lambda: mtd.pool("db")["restarts"] == 1 and mtd.pool("db")["ready"] == 1)
        assert mtd.pids("web") == web


def test_fault_47_a_dependency_that_is_missing_for_long(actor, tmp_path):
    """It crashes until it finds what it needs; nobody has to do anything."""
    flag = tmp_path / "there"
    os.chmod(tmp_path, 0o755)
    command = ["/bin/sh", "-c", f'test -e {flag} || exit 1; exec "$0" wait', actor]
    with Mtd({"db": pool(command, min_uptime="0s"), "web": pool([actor, "wait"], depends_on={"db": {"until": "ready", "if_lost": "stop"}})}) as mtd:
        mtd.until(lambda: mtd.pool("db")["restarts"] >= 3)
        flag.write_text("")
        mtd.wait_pool("db", ready=1)
        mtd.wait_pool("web", ready=1)


def test_the_supervisor_dies_while_one_waits_and_one_stops(actor):
    with Mtd({"db": pool([actor, "report=db", "wait"], ready="notify"),
              "web": pool([actor, "report=web", "ignore=15", "wait"], stop={"timeout": "infinity"}, depends_on={"db": "ready"})}) as mtd:
        db = mtd.reports.expect("db")["pid"]
        mtd.kill_supervisor()
        assert note(mtd, "web") == "waits for db to be ready"
        os.kill(db, signal.SIGUSR2)
        web = mtd.reports.expect("web")["pid"]
        mtd.ctl("--no-wait", "stop", "db", "web")
        mtd.until(lambda: mtd.pool("web")["state"] == "stopping")
        mtd.kill_supervisor()
        assert "stops when nothing needs it" in note(mtd, "db") and is_alive(db)
        os.kill(web, signal.SIGKILL)
        assert wait_gone(db)
        mtd.wait_pool("db", state="stopped")


@pytest.mark.parametrize("pools, error", [
    ({"a": {"b": "ready"}, "b": {"c": "started"}, "c": {"a": "ready"}}, "a → b → c → a"),
    ({"a": {"a": "ready"}}, "a → a"),
    ({"web": {"dbb": "ready"}, "db": {}}, 'there is no pool "dbb", did you mean "db"?'),
    ({"a": {"b": "redy"}, "b": {}}, '"started", "ready" or "completed"'),
    ({"a": {"b": {"until": "ready", "if_lost": "restart"}}, "b": {}}, '"if_lost": "keep" or "stop"'),
    ({"a": {"b": {"until": "completed", "if_lost": "stop"}}, "b": {}}, "what has completed cannot be lost"),
    ({"a": ["b"], "b": {}}, "an object of pools"),
])
def test_what_makes_no_sense_is_an_error(actor, pools, error):
    with pytest.raises(StartFailed) as failed, Mtd({n: pool([actor, "wait"], depends_on=d) for n, d in pools.items()}):
        pass
    assert failed.value.code == 8
    assert error in failed.value.log and "mtd.json:" in failed.value.log, failed.value.log


def test_reload_of_one_pool_cannot_tear_the_order(actor):
    with Mtd({"db": pool([actor, "wait"]), "web": pool([actor, "wait"], depends_on={"db": "ready"})}) as mtd:
        mtd.wait_ready()
        del mtd.pools["db"]
        mtd.pools["web"].pop("depends_on")
        mtd.write_config()
        assert 'there is no pool "db"' in mtd.ctl("reload", "db", code=8).stderr
        mtd.ctl("reload")
        assert [p["name"] for p in mtd.status()["pools"]] == ["web"]


# ---- essential, enable, disable --------------------------------------------------------------------

def test_an_essential_pool_that_fails_ends_mtd_with_10(actor):
    with Mtd({"main": pool([actor, "sleep=100", "exit=3"], restart="never", essential=True), "other": pool([actor, "wait"])},
             exit_code=10, checks_descriptors=False) as mtd:
        assert wait_gone(mtd.process.pid, 20)
        assert "pool main has failed and is essential" in mtd.log()


def test_an_essential_pool_that_is_stopped_or_crashes_once_ends_nothing(actor):
    with Mtd({"main": pool([actor, "wait"], essential=True)}) as mtd:
        mtd.kill(mtd.pids("main")[0])
        mtd.until(lambda: mtd.pool("main")["restarts"] == 1)
        mtd.ctl("stop", "main")
        assert mtd.pool("main")["state"] == "stopped"


def test_exit_code_10_outlives_the_supervisor(actor):
    with Mtd({"main": pool([actor, "sleep=100", "exit=3"], restart="never", essential=True),
              "other": pool([actor, "report=other", "ignore=15", "wait"], stop={"timeout": "infinity"})},
             exit_code=10, checks_descriptors=False) as mtd:
        other = mtd.reports.expect("other")["pid"]
        mtd.events.expect(event="essential_failed")
        mtd.kill_supervisor()
        os.kill(other, signal.SIGKILL)
        assert wait_gone(mtd.process.pid, 20)


def again(mtd):
    mtd.checks_descriptors = False
    mtd.finish()
    mtd.start()


def test_disable_and_enable_outlive_mtd(actor):
    with Mtd({"web": pool([actor, "wait"]), "mail": pool([actor, "wait"], enabled=False)}) as mtd:
        done = mtd.ctl("disable", "web").stdout
        assert "disabled" in done and "though the file says true" in done
        mtd.ctl("enable", "mail")
        assert mtd.pool("web")["ready"] == 1 and mtd.pool("web")["enabled"] is False, "what runs goes on"
        assert mtd.pool("mail")["state"] == "stopped" and mtd.pool("mail")["enabled"] is True
        mtd.kill_supervisor()
        assert mtd.pool("web")["enabled"] is False and mtd.pool("web")["ready"] == 1
        again(mtd)
        assert mtd.pool("web")["state"] == "stopped" and mtd.pool("mail")["ready"] == 1
        assert "not enabled" in note(mtd, "web") and "not enabled any more" in mtd.ctl("why", "web").stdout
        mtd.ctl("start", "web")
        again(mtd)
        assert mtd.pool("web")["state"] == "stopped", "a start does not enable"
        mtd.ctl("enable", "--now", "web")
        mtd.ctl("disable", "--now", "mail")
        assert mtd.pool("web")["ready"] == 1 and mtd.pool("mail")["state"] == "stopped"
        again(mtd)
        assert mtd.pool("web")["ready"] == 1 and mtd.pool("mail")["state"] == "stopped"
        mtd.ctl("enable", "web/0", code=2)


def test_stop_says_what_it_survives(actor):
    with Mtd({"web": pool([actor, "wait"], workers=2)}) as mtd:
        assert "after a restart of mtd too" in mtd.ctl("stop", "web").stdout
        mtd.ctl("start", "web")
        assert "until it is started or mtd is restarted" in mtd.ctl("stop", "web/1").stdout
