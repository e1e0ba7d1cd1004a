#!/usr/bin/python3
"""Requests lost by reloads of real servers under load: under mtd (rolling reloads, and 2 → 8 → 2 workers), and by the
server's own reload (nginx and gunicorn HUP, php-fpm USR2) under the same load.

    MTD_BIN=build/release/bin tests/bench/reloads.py [--reloads N] [nginx] [gunicorn] [php-fpm]

Needs root (php-fpm changes its user), wrk and the servers.
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402
import real_servers  # noqa: E402


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--reloads", type=int, default=20)
    arguments.add_argument("servers", nargs="*")
    options = arguments.parse_args()
    harness.become_subreaper()
    print(f"{'server':10} {'who reloads':12} {'reloads':>8} {'requests':>9} {'failed':>7}")
    lost_by_mtd = 0
    for name in options.servers or ["nginx", "gunicorn", "php-fpm"]:
        absent = real_servers.missing(name)
        if absent:
            print(f"{name:10} skipped: not installed: {', '.join(absent)}")
            continue
        for who, run in (("mtd", real_servers.change_under_load), ("itself", real_servers.reload_alone_under_load)):
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o755)
                lost, answered, text = run(real_servers.Server(name, directory), options.reloads)
            print(f"{name:10} {who:12} {options.reloads:8} {answered:9} {lost:7}", flush=True)
            if lost and who == "mtd":
                print(text)
            lost_by_mtd += lost if who == "mtd" else 0
    return 1 if lost_by_mtd else 0


if __name__ == "__main__":
    sys.exit(main())
