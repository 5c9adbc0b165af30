#!/usr/bin/env python3
"""A lock's holder is paused beyond its lease, another takes the lock, the first wakes up: its late write is refused.

usage: fencing.py BINARY [--seed N] [--rounds N]

The holder is a real command under `quorate lock NAME --ttl 2s -- COMMAND`, paused with SIGSTOP (it, and all that it
started). The lock may not be had before the lease can have ended, and must be had soon after. The first holder's write,
carrying its fencing token, must be refused with FENCED, also when `quorate lock` itself is still asleep.
"""

import json
import os
import signal
import subprocess
import time
import urllib.parse

import trial
from cluster import Cluster, wait_until

TTL_MS = 2000
# From the pause to the next holder: the lease that was kept alive last, and the time that its end takes to be noticed
# and applied.
TAKEN_BOUND_S = TTL_MS / 1000 + 3.0
# `quorate lock` keeps its lease alive every third of the time to live at most, so at least half of it was left at the pause.
TAKEN_EARLIEST_S = TTL_MS / 1000 / 2 - 0.2

HOLDER = """
echo "$QUORATE_FENCING_TOKEN" > token.new && mv token.new token
quorate put guarded first --fence "$QUORATE_LOCK_NAME:$QUORATE_FENCING_TOKEN" > early.out 2>&1; echo $? > early.code
while [ ! -e go ]; do sleep 0.05; done
quorate put guarded late --fence "$QUORATE_LOCK_NAME:$QUORATE_FENCING_TOKEN" > late.out 2>&1; echo $? > late.new
mv late.new late.code
"""


def descendants(pid):
    """A process that we started and all below it, itself last."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[::-1]


def send_all(pids, which):
    for pid in pids:
        try:
            os.kill(pid, which)
        except ProcessLookupError:
            pass


def read_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def fenced_put(cluster, node, name, token, value):
    headers = {"Quorate-Fence": f"{urllib.parse.quote(name, safe='')};token={token}"}
    return cluster.put(node, "guarded", value, headers=headers)


def one_pause(cluster, options, folder, name, dice):
    """One holder paused, overtaken and woken; returns (first token, second token, seconds until it was overtaken)."""
    os.makedirs(folder)
    endpoints = ",".join(f"http://127.0.0.1:{cluster.base + node}" for node in range(cluster.nodes))
    path = f"{os.path.dirname(options.binary)}:{os.environ['PATH']}"
    said = open(os.path.join(folder, "lock.out"), "w", encoding="utf-8")
    holder = subprocess.Popen(
        [options.binary, "lock", name, "--ttl", f"{TTL_MS}ms", "--", "bash", "-c", HOLDER],
        cwd=folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "QUORATE_ENDPOINTS": endpoints, "PATH": path})
    try:
        wait_until("the holder's first write", lambda: read_text(f"{folder}/early.code"), 20)
        assert read_text(f"{folder}/early.code") == "0", read_text(f"{folder}/early.out")
        first = int(read_text(f"{folder}/token"))
        # Long enough that the lease had to be kept alive: the pause is what ends it.
        time.sleep(TTL_MS / 1000 * dice.uniform(1.2, 2.0))
        assert holder.poll() is None, f"the holder ended: {read_text(said.name)}"
        pids = descendants(holder.pid)
        send_all(pids[::-1], signal.SIGSTOP)
        paused_at = time.monotonic()
        wish = json.dumps({"ttl_ms": 30_000, "wait_ms": 15_000, "owner": "the second"})
        lock_path = f"/v1/keyspaces/default/locks/{urllib.parse.quote(name, safe='')}"
        node = dice.randrange(cluster.nodes)
        status, _, body = cluster.http(node, "POST", lock_path, wish, {"Quorate-Timeout-Ms": "20000"}, timeout=30)
        taken_s = time.monotonic() - paused_at
        assert status == 201, (status, body)
        second = int(json.loads(body)["token"])
        assert second > first, f"the second token, {second}, is not larger than the first, {first}"
        assert TAKEN_EARLIEST_S <= taken_s <= TAKEN_BOUND_S, f"the lock was had {taken_s:.2f} s after the pause"
        status, _, body = fenced_put(cluster, dice.randrange(cluster.nodes), name, second, b"second")
        assert status in (200, 201), (status, body)
        # The command wakes up before `quorate lock`, which might end it: the worst case.
        open(os.path.join(folder, "go"), "w", encoding="ascii").close()
        send_all([pid for pid in pids if pid != holder.pid], signal.SIGCONT)
        wait_until("the late write's answer", lambda: read_text(f"{folder}/late.code"), 20)
        code, late = read_text(f"{folder}/late.code"), read_text(f"{folder}/late.out")
        assert code != "0" and "FENCED" in late, f"the late write: exit {code}: {late}"
        status, headers, body = fenced_put(cluster, dice.randrange(cluster.nodes), name, first, b"later still")
        assert status == 409 and json.loads(body)["code"] == "FENCED", (status, body)
        assert json.loads(body)["applied"] == "not_applied", body
        assert cluster.get(dice.randrange(cluster.nodes), "guarded")[2] == b"second"
        status, _, body = fenced_put(cluster, dice.randrange(cluster.nodes), name, second, b"second again")
        assert status == 200, (status, body)
        send_all(pids, signal.SIGCONT)
        holder.wait(20)
        held = json.loads(cluster.http(0, "GET", lock_path)[2])
        assert int(held["token"]) == second, f"the first holder's end let go of the second's lock: {held}"
        status, _, body = cluster.http(0, "DELETE", f"{lock_path}?token={second}")
        assert status in (200, 204), (status, body)
        status, _, body = fenced_put(cluster, 0, name, second, b"after release")
        assert status == 409 and json.loads(body)["code"] == "FENCED", (status, body)
    finally:
        if holder.poll() is None:
            send_all(descendants(holder.pid), signal.SIGKILL)
            holder.wait(10)
        said.close()
    return first, second, taken_s


def fencing(options, scratch, dice):
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        figures = [one_pause(cluster, options, os.path.join(scratch, f"round-{number}"), "nightly job/1", dice)
                   for number in range(options.rounds)]
    tokens = [token for first, second, _ in figures for token in (first, second)]
    assert tokens == sorted(set(tokens)), f"tokens do not grow: {tokens}"
    taken = [taken_s for _, _, taken_s in figures]
    return (f"{options.rounds} holders paused beyond a lease of {TTL_MS / 1000:.0f} s, overtaken after "
            f"{min(taken):.2f} to {max(taken):.2f} s, every late write refused; tokens {tokens}")


def add_arguments(parser):
    parser.add_argument("--rounds", type=int, default=3)


if __name__ == "__main__":
    trial.main("fencing", __doc__, fencing, add_arguments)
