#!/usr/bin/env python3
"""A holder of a lock stands still for longer than its lease, another takes the lock and writes, and the first comes back.

usage: fencing.py BINARY [--seed N]

The holder is `quorate lock` with a script that writes under its fence in a loop, all in one process group, which is
stopped (SIGSTOP) beyond its lease and resumed (SIGCONT). Its late write must be refused with FENCED, and what the
second holder wrote must stay. Ends only process groups that it started.
"""

import json
import os
import signal
import subprocess
import sys

import trial
from cluster import Cluster, wait_until

TTL_MS = 2000
ROUNDS = 3
# Writes under the fence until it is told to stop, and says what became of each write. It outlives its lock's loss.
HOLDER = """
trap '' TERM
n=0
while [ ! -e "$STOP" ]; do
    n=$((n + 1))
    if "$QUORATE" --json put guarded "$NAME-$n" >/dev/null 2>"$LOG.error"; then
        echo "ok $n" >>"$LOG"
    else
        echo "no $n $(tr -d '\\n' <"$LOG.error")" >>"$LOG"
    fi
done
"""


class Holder:
    """`quorate lock` with the script above, in a process group of its own."""

    def __init__(self, cluster, scratch, name, lock):
        self.log, self.stop_file = os.path.join(scratch, f"{name}.log"), os.path.join(scratch, f"{name}.stop")
        endpoints = ",".join(f"http://127.0.0.1:{cluster.base + node}" for node in range(cluster.nodes))
        environment = {**os.environ, "QUORATE_ENDPOINTS": endpoints, "QUORATE": cluster.binary, "NAME": name,
                       "LOG": self.log, "STOP": self.stop_file}
        command = [cluster.binary, "lock", lock, "--ttl-ms", str(TTL_MS), "--grace-ms", "60000", "--", "sh", "-c", HOLDER]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def said(self):
        try:
            with open(self.log, encoding="utf-8") as log:
                return log.read().splitlines()
        except FileNotFoundError:
            return []

    def writes(self):
        return sum(line.startswith("ok") for line in self.said())

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def end(self):
        with open(self.stop_file, "w", encoding="ascii"):
            pass
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def holder_of(cluster, lock):
    status, _, said = cluster.http(0, "GET", f"/v1/keyspaces/default/locks/{lock}")
    assert status == 200, said
    holder = json.loads(said)["holder"]
    return holder and holder["token"]


def fencing(options, scratch, _dice):
    refused = 0
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        for number in range(ROUNDS):
            lock = f"job-{number}"
            first = Holder(cluster, scratch, f"first-{number}", lock)
            try:
                wait_until("the first holder writes", lambda: first.writes() >= 3)
                token = holder_of(cluster, lock)
                first.signal(signal.SIGSTOP)
                second = Holder(cluster, scratch, f"second-{number}", lock)
                try:
                    wait_until("another holds the lock", lambda: second.writes() >= 3)
                    newer = holder_of(cluster, lock)
                    assert newer > token, f"token {newer} after {token}"
                    before = first.writes()
                    first.signal(signal.SIGCONT)
                    fenced = lambda: [line for line in first.said() if line.startswith("no") and "FENCED" in line]
                    wait_until("the late write is refused", fenced)
                    code, errors = first.end()
                    assert code == 6 and "lock is lost" in errors, (code, errors)
                    # One write may have been under way as it was stopped, and applied before its lease ended.
                    assert first.writes() <= before + 1, first.said()[-5:]
                    refused += len(fenced())
                    wait_until("the second goes on", lambda: second.writes() >= 5)
                finally:
                    code, errors = second.end()
                assert code == 0, (code, errors)
                assert not [line for line in second.said() if line.startswith("no")], second.said()[-5:]
                value = cluster.get(0, "guarded")[2].decode()
                assert value.startswith(f"second-{number}"), value
                assert holder_of(cluster, lock) is None, "the lock was not released"
            finally:
                if first.process.poll() is None:
                    first.signal(signal.SIGCONT)
                    first.signal(signal.SIGKILL)
                    first.process.communicate()
    return f"{ROUNDS} holders stood still beyond their lease of {TTL_MS} ms; {refused} late writes, all refused with FENCED"


if __name__ == "__main__":
    sys.exit(trial.main("fencing", __doc__, fencing))
