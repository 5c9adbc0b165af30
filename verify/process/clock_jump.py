#!/usr/bin/env python3
"""A node's wall clock jumps by an hour, forwards and back, while the cluster runs. Its monotonic clock stays true.

usage: clock_jump.py BINARY [--seed N]

The jump is made by libfaketime (Debian package `libfaketime`), and is seen to arrive: the time in the node's own log
jumps with it. What clients see must stay linearizable with growing revisions, nobody may be elected because of it,
leases end neither early nor late, and the clock in receipts follows a jump no further than its stated bound. Says
`not run` without libfaketime.
"""

import datetime
import glob
import json
import os
import re
import threading
import time

import trial
from history import History, Register
from servers import Client, Servers, key_path, wait_until

HOUR_S = 3600
# How long each state lasts: longer than every election and no-quorum timeout, and than two of the leases.
STATE_S = 4.0
LEASE_TTL_MS = 2000
# A lease may live longer by the time that its end takes to be noticed, proposed and applied.
LEASE_LATE_S = 2.0
LIBRARIES = ["/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1"]


class FakeClock:
    """The wall clock that one process sees, as an offset in a file that it reads again all the time."""

    def __init__(self, library, path):
        self.library, self.path = library, path
        self.set(0)

    def set(self, offset_s):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(f"{offset_s:+d}s\n")
        os.replace(self.path + ".new", self.path)

    def environment(self):
        return {"LD_PRELOAD": self.library, "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


def last_log_time(path):
    """The time of the last line of a node's log, or None."""
    with open(path, encoding="utf-8", errors="replace") as log:
        stamps = re.findall(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z", log.read(), re.MULTILINE)
    return datetime.datetime.fromisoformat(stamps[-1] + "+00:00").timestamp() if stamps else None


def assert_the_clock_is_faked(servers, node, offset_s):
    """Starts the node anew, so that it writes to its log, and compares the time it wrote."""
    servers.kill(node)
    servers.start(node).wait_ready()
    seen = last_log_time(servers.log_path(node)) - time.time()
    assert abs(seen - offset_s) < 60, f"node {node} is to be {offset_s} s off, its log is {seen:.0f} s off"


class Load(threading.Thread):
    """One client that writes and reads through one node."""

    def __init__(self, servers, history, process):
        super().__init__(daemon=True)
        self.register = Register(history, process, Client(servers.http_address(process % servers.nodes)))
        self.state = 0
        self.stopping = False
        self.failure = None

    def run(self):
        try:
            turn = 0
            while not self.stopping:
                turn += 1
                key = f"s{self.state}-k{turn % 3}"
                (self.register.write if turn % 2 else self.register.read)(key)
                time.sleep(0.01)
        except Exception as error:
            self.failure = error


class Lease(threading.Thread):
    """Grants a lease through a node and measures when it ends."""

    def __init__(self, servers, node):
        super().__init__(daemon=True)
        self.servers, self.node, self.lived_s, self.failure = servers, node, None, None

    def run(self):
        try:
            client = Client(self.servers.http_address(self.node))
            body = json.dumps({"ttl_ms": LEASE_TTL_MS})
            path = "/v1/keyspaces/default/leases"
            status, _, said = client.request("POST", path, body, {"Content-Type": "application/json"})
            granted = time.monotonic()
            assert status == 201, said
            lease = json.loads(said)["id"]
            key = f"leased-{lease}"
            status, _, said = client.request("PUT", f"{key_path(key)}?lease={lease}", b"here")
            assert status == 201, said
            wait_until("the lease ends", lambda: client.request("GET", key_path(key))[0] == 404, 30)
            self.lived_s = time.monotonic() - granted
        except Exception as error:
            self.failure = error

    def check(self, where):
        self.join(40)
        if self.failure:
            raise self.failure
        early = self.lived_s < LEASE_TTL_MS / 1000 - 0.05
        late = self.lived_s > LEASE_TTL_MS / 1000 + LEASE_LATE_S
        assert not early and not late, f"{where}: a lease of {LEASE_TTL_MS} ms lived {self.lived_s:.2f} s"
        return self.lived_s


def has_leases(servers):
    status, _, said = servers.ask(0, "POST", "/v1/keyspaces/default/leases", json.dumps({"ttl_ms": 1000}))
    return status == 201, said


def receipt_clock_ms(servers, node):
    """The physical part of the hybrid clock in a write's receipt, in milliseconds; None where there is none."""
    status, _, said = servers.ask(node, "PUT", key_path("hlc"), b"x")
    assert status in (200, 201), said
    hlc = json.loads(said)["receipt"].get("hlc")
    return None if hlc is None else int(str(hlc).split(".")[0])


def clock_jump(options, scratch, dice):
    libraries = [path for pattern in LIBRARIES for path in glob.glob(pattern)]
    if not libraries:
        raise trial.NotRun("libfaketime is not there: apt-get install libfaketime")
    clocks = [FakeClock(libraries[0], os.path.join(scratch, f"clock-{node}")) for node in range(3)]
    with Servers(options.binary, scratch, environment=lambda node: clocks[node].environment()) as servers:
        servers.start().wait_ready()
        assert_the_clock_is_faked(servers, 2, 0)
        clocks[2].set(HOUR_S)
        assert_the_clock_is_faked(servers, 2, HOUR_S)
        clocks[2].set(0)
        leases, why_not = has_leases(servers)
        history = History(os.path.join(scratch, "history.jsonl"))
        loads = [Load(servers, history, process) for process in range(6)]
        for load in loads:
            load.start()
        lives, drifts, jumps = [], [], 0
        leader = servers.wait_leader()
        term = servers.ask_json(leader, "/v1/status")["term"]
        follower = (leader + 1) % 3
        for victim in (leader, follower):
            for offset_s in (HOUR_S, -HOUR_S, 0):
                lease = Lease(servers, dice.randrange(3)) if leases else None
                if lease:
                    lease.start()
                    time.sleep(0.5)
                jumps += 1
                for load in loads:
                    load.state = jumps
                clocks[victim].set(offset_s)
                time.sleep(STATE_S)
                if lease:
                    lives.append(lease.check(f"node {victim} at {offset_s:+d} s"))
                clock_ms = receipt_clock_ms(servers, dice.randrange(3))
                if clock_ms is not None:
                    drifts.append(clock_ms / 1000 - time.time())
        for load in loads:
            load.stopping = True
        for load in loads:
            load.join(30)
            if load.failure:
                raise load.failure
        status = servers.ask_json(leader, "/v1/status")
        assert (status["role"], status["term"]) == ("leader", term), f"the jumps cost the leader its office: {status}"
        assert history.counts["unknown"] == history.counts["fail"] == 0, history.said()
        servers.wait_same_hash()
        verdict = history.judge(options)
    said = [f"{jumps} jumps of an hour or two, no election; {history.said()}; linearizable: {verdict}"]
    if lives:
        said.append(f"leases of {LEASE_TTL_MS / 1000:.0f} s lived {min(lives):.2f} to {max(lives):.2f} s")
    else:
        said.append(f"leases not tried: {why_not[:80]!r}")
    said.append(f"receipts' clock was {min(drifts):.1f} to {max(drifts):.1f} s off" if drifts
                else "receipts carry no hybrid clock")
    return "; ".join(said)


if __name__ == "__main__":
    trial.main("clock_jump", __doc__, clock_jump)
