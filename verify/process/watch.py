#!/usr/bin/env python3
"""1,000 watches of one node, one of which never reads: the others miss nothing, and the node's memory stays bounded.

usage: watch.py BINARY [--seed N] [--watchers N]

All watch at one follower. 999 watch small keys, the last one watches everything, and reads nothing. A writer puts small
values, and large ones between them: more than sockets and stated buffers hold by far. Each of the 999 must be told
every revision of its keys, once, in order. The node may use at most MEMORY_MAX more memory than the other follower, which
applies the same writes and serves no watch. In the end the last client begins to read; whether its connection was kept or
was closed for its silence, it resumes from the last id that it saw, and must then have been told everything, once, in order.
"""

import os
import re
import resource
import selectors
import socket
import threading
import time

import trial
from cluster import wait_until
from servers import Client, Servers, key_path

WRITES = 120
LARGE_BYTES = 1024 * 1024
PAUSE_S = 0.06
# 1,000 connections with their tasks and buffers (some 30 KiB each), and 192 KiB for the one that does not read; what the
# node's allocator keeps, and a checkpoint more or less than the other follower has in memory, come on top.
MEMORY_MAX = 128 * 1024 * 1024
DEADLINE_S = 30
EVENT_ID = re.compile(rb"event: changes\nid: (\d+)\n")


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


class Watch:
    """One connection that watches; what it has read is cut into events as it comes."""

    def __init__(self, address, query, receive_bytes=None, last_id=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(address)
        resume = f"Last-Event-ID: {last_id}\r\n" if last_id is not None else ""
        head = f"GET /v1/keyspaces/default/watch?{query} HTTP/1.1\r\nHost: x\r\n{resume}\r\n"
        self.socket.sendall(head.encode())
        self.text, self.ids, self.started = b"", [], False

    def read(self):
        """Takes in what has come. False when the connection has ended."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            return False
        if not data:
            return False
        text = self.text + data
        self.started = self.started or b"event: started\n" in text
        end = text.rfind(b"\n\n") + 2 if b"\n\n" in data or b"\n\n" in text[-len(data) - 1:] else 0
        whole, self.text = text[:end], text[end:]
        assert b"event: error\n" not in whole, whole[-500:]
        self.ids.extend(int(found) for found in EVENT_ID.findall(whole))
        return True


class Writer(threading.Thread):
    def __init__(self, address):
        super().__init__(daemon=True)
        self.client, self.failure = Client(address), None
        self.small, self.all = [], []

    def run(self):
        try:
            large = os.urandom(LARGE_BYTES)
            for number in range(WRITES):
                self.small.append(self.put(f"small/{number % 10}", b"x" * 100))
                self.put(f"large/{number % 10}", large)
                time.sleep(PAUSE_S)
        except Exception as error:
            self.failure = error

    def put(self, key, value):
        status, _, said = self.client.request("PUT", key_path(key), value)
        assert status in (200, 201), said
        revision = int(re.search(rb'"revision":(\d+)', said)[1])
        self.all.append(revision)
        return revision


def read_all(watches, done):
    """Reads from all of them until `done()`."""
    selector = selectors.DefaultSelector()
    for watch in watches:
        watch.socket.setblocking(False)
        selector.register(watch.socket, selectors.EVENT_READ, watch)
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "the watches are not told everything in time"
        for key, _ in selector.select(0.1):
            assert key.data.read(), "a watch that reads was closed"
    selector.close()


def catch_up(stalled, address, expected):
    """The client reads at last, and resumes if it must. Says how it went."""
    ids, resumed, watch = [], 0, stalled
    deadline = time.monotonic() + DEADLINE_S
    while (ids + watch.ids)[-1:] != expected[-1:]:
        assert time.monotonic() < deadline, "the client that stalled does not get to the end"
        watch.socket.settimeout(DEADLINE_S)
        if not watch.read():
            ids += watch.ids
            resumed += 1
            last = ids[-1] if ids else expected[0] - 1
            watch = Watch(address, "", last_id=last)
    ids += watch.ids
    assert ids == expected, f"the client that stalled was told {len(ids)} revisions, not {len(expected)}"
    return "was closed, and resumed" if resumed else "was kept at its position"


def watch(options, scratch, dice):
    # Only this process's own limit, up to what the system allows it; each server does the same for itself.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.watchers + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise trial.NotRun(f"{wanted} open files are needed, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    extra = ""
    with Servers(options.binary, scratch, extra=extra).start().wait_ready() as servers:
        leader = servers.wait_leader()
        watched, other = dice.sample([node for node in range(3) if node != leader], 2)
        address = servers.http_address(watched)
        pids = [process.pid for process in servers.processes]
        watches = [Watch(address, "prefix=small/") for _ in range(options.watchers - 1)]
        stalled = Watch(address, "", receive_bytes=4096)
        read_all(watches, lambda: all(one.started for one in watches))
        writer = Writer(servers.http_address(leader))
        most = 0
        writer.start()

        def done():
            nonlocal most
            most = max(most, rss(pids[watched]) - rss(pids[other]))
            assert writer.failure is None, writer.failure
            return not writer.is_alive() and all(len(one.ids) >= WRITES for one in watches)

        began = time.monotonic()
        read_all(watches, done)
        took = time.monotonic() - began
        for one in watches:
            assert one.ids == writer.small, f"a watch was told {one.ids}, not {writer.small}"
        how = catch_up(stalled, address, writer.all)
        most = max(most, rss(pids[watched]) - rss(pids[other]))
        wait_until("the replica that is watched is ready", lambda: servers.ask(watched, "GET", "/readyz")[0] == 200)
        mib = 1024 * 1024
        said = (f"{len(watches)} watches told {WRITES} revisions each in {took:.1f} s, none missed; "
                f"{most / mib:.0f} MiB more memory than without, of {MEMORY_MAX / mib:.0f}; the one that did not read {how}")
        assert most <= MEMORY_MAX, said
    return said


if __name__ == "__main__":
    trial.main("watch", __doc__, watch, lambda parser: parser.add_argument("--watchers", type=int, default=1000))
