"""A program that puts itself into the background: what `why` says of it."""
from harness import Mtd, pool


def test_why_says_how_a_known_program_stays_in_the_foreground(actor, tmp_path):
    nginx = tmp_path / "nginx"
    nginx.symlink_to(actor)
    with Mtd({"web": pool([str(nginx), "daemon"]), "own": pool([actor, "daemon"]),
              "once": pool([actor, "exit=0"], restart="on-failure")}) as mtd:
        for name in ("web", "own"):
            mtd.until(lambda name=name: mtd.pool(name)["restarts"] >= 2, None, f"{name} ends again and again")
        said = " ".join(mtd.ctl("why", "web").stdout.split())
        assert "puts itself into the background" in said and "nginx -g 'daemon off;'" in said, said
        said = " ".join(mtd.ctl("why", "own").stdout.split())
        assert "puts itself into the background" in said and "--foreground" in said, said
        mtd.wait_pool("once", state="completed")
        assert "background" not in mtd.ctl("why", "once").stdout
