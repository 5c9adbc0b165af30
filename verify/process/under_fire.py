#!/usr/bin/env python3
"""Real processes under fire: what a user must never lose, tried on a real cluster.

usage: under_fire.py BINARY [--tree DIR] [--kills N] [--megabytes N] [--only NAME] [--seed N]

Prints one line per trial and `N passed, N failed` last; exits 1 if any failed.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bulk  # noqa: E402
import damage  # noqa: E402
import quorum  # noqa: E402
from cluster import Cluster, wait_until  # noqa: E402


def snapshot(tree):
    """Every path below `tree`: what kind it is, and its bytes' digest or its link's target."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(tree)):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, os.fsencode(tree))
            if os.path.islink(path):
                found[relative] = ("link", os.readlink(path))
            elif os.path.isfile(path):
                found[relative] = ("file", path)
            elif os.path.isdir(path) and not os.listdir(path):
                found[relative] = ("empty", b"")
    return found


def assert_same(left, right):
    """Byte for byte, links as links."""
    one, two = snapshot(left), snapshot(right)
    assert one.keys() == two.keys(), f"paths differ: {sorted(one.keys() ^ two.keys())[:5]}"
    for relative, (kind, value) in one.items():
        other_kind, other = two[relative]
        assert kind == other_kind, f"{relative!r} is a {other_kind}, was a {kind}"
        same = filecmp.cmp(value, other, shallow=False) if kind == "file" else value == other
        assert same, f"{relative!r} differs"
    return len(one)


def import_under_fire(options, scratch):
    """A tree is imported while the leader is killed again and again; the export is identical."""
    dice = random.Random(options.seed)
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        endpoints = ",".join(f"http://127.0.0.1:{cluster.base + node}" for node in range(3))
        environment = {**os.environ, "QUORATE_ENDPOINTS": endpoints}
        # Few at a time, so that a small tree lasts for all the kills.
        command = [options.binary, "import", options.tree, "--concurrency", "4"]
        log = open(os.path.join(scratch, "import.log"), "w+")
        importing = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        kills, rounds = 0, 1
        while kills < options.kills or importing.poll() is None:
            if importing.poll() is not None:
                log.seek(0)
                assert importing.returncode == 0, f"import failed: {log.read()[-2000:]}"
                rounds += 1
                importing = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            if kills < options.kills:
                wait_until("a moment to kill at", lambda: dice.random() < 0.02, 60)
                node = cluster.leader_node()
                cluster.kill(node)
                kills += 1
                cluster.wait_ready([node], 60)
            else:
                importing.wait(600)
        log.seek(0)
        assert importing.returncode == 0, f"import failed: {log.read()[-2000:]}"
        exported = os.path.join(scratch, "exported")
        cluster.cli("export", exported)
        paths = assert_same(options.tree, exported)
    return f"{paths} paths identical after {kills} kills of the leader ({rounds} imports)"


def failover_time(options, scratch):
    """The median time from a leader's kill to the next acknowledged write is at most a second."""
    command = [options.binary, "bench", "failover", "--kills", "20", "--json"]
    command += ["--data-dir", os.path.join(scratch, "data")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    median = result["median_ms"]
    assert median <= 1000, f"median {median} ms: {ran.stdout}"
    return f"median {median:.0f} ms over {options.failover_kills} kills"


TRIALS = [
    import_under_fire,
    failover_time,
    *quorum.TRIALS,
    *damage.TRIALS,
    *bulk.TRIALS,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--tree", default="/usr/share/doc")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1024, help="for data_larger_than_memory")
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    options.failover_kills = 20
    print(f"seed {options.seed}", flush=True)
    passed = failed = 0
    for trial in TRIALS:
        if options.only and options.only not in trial.__name__:
            continue
        scratch = tempfile.mkdtemp(prefix=f"quorate-{trial.__name__}-")
        began = time.monotonic()
        try:
            said = trial(options, scratch)
            passed += 1
            print(f"ok    {trial.__name__}: {said} [{time.monotonic() - began:.1f} s]", flush=True)
            shutil.rmtree(scratch, ignore_errors=True)
        except Exception:
            failed += 1
            print(f"FAIL  {trial.__name__} (seed {options.seed}; files kept in {scratch})", flush=True)
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
