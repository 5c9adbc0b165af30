#!/usr/bin/env python3
"""Replication lag in milliseconds follows a delay that is put between a follower and the others.

usage: lag.py BINARY [--seed N]

Clients write all the time; the links of one follower are slowed down by 0, 100, 250 and again 0 ms each way. The lag
that the leader's status tells of that follower must grow and shrink with it, and that of the other stay small.
"""

import statistics
import threading
import time

import trial
from relays import Relays
from servers import Client, Servers, key_path

DELAYS_MS = [0, 100, 250, 0]
SAMPLES = 40
# What comes on top of the delay: a heartbeat (60 ms) and its answer, ticks of 20 ms, and a busy machine.
SLACK_MS = 150


class Load(threading.Thread):
    def __init__(self, servers, node):
        super().__init__(daemon=True)
        self.client, self.stopping, self.failure = Client(servers.http_address(node)), False, None

    def run(self):
        try:
            number = 0
            while not self.stopping:
                number += 1
                status, _, said = self.client.request("PUT", key_path(f"k{number % 10}"), b"x")
                assert status in (200, 201), said
                time.sleep(0.01)
        except Exception as error:
            self.failure = error


def lags_ms(servers, leader):
    """Each replica's lag as the leader tells it, in milliseconds."""
    status = servers.ask_json(leader, "/v1/status")
    group = next(group for group in status["groups"] if group["keyspace"] == "default")
    assert all("lag_ms" in replica for replica in group["replicas"]), f"no lag_ms: {group['replicas']}"
    return {replica["node"]: replica["lag_ms"] for replica in group["replicas"]}


def lag(options, scratch, dice):
    relays = Relays()
    with Servers(options.binary, scratch, relays=relays).start().wait_ready() as servers:
        leader = servers.wait_leader()
        slow, other = dice.sample([node for node in range(3) if node != leader], 2)
        load = Load(servers, leader)
        load.start()
        told = []
        for delay_ms in DELAYS_MS:
            for link in relays.of(slow):
                link.delay_s = delay_ms / 1000
            time.sleep(2.0)
            samples = []
            for _ in range(SAMPLES):
                samples.append(lags_ms(servers, leader))
                time.sleep(0.03)
            assert servers.leader() == leader, "the leader changed: this machine is too busy for this trial"
            slow_ms = statistics.median(sample[slow] for sample in samples)
            other_ms = statistics.median(sample[other] for sample in samples)
            told.append(f"{delay_ms} ms each way: {slow_ms:.0f} ms (the other {other_ms:.0f} ms)")
            print(f"  {told[-1]}", flush=True)
            # An entry that left is acknowledged a round trip later; what is still waiting is younger than that.
            assert delay_ms * 0.8 <= slow_ms <= 2 * delay_ms + SLACK_MS, told[-1]
            assert other_ms <= SLACK_MS, told[-1]
        load.stopping = True
        load.join(20)
        if load.failure:
            raise load.failure
    return "; ".join(told)


if __name__ == "__main__":
    trial.main("lag", __doc__, lag)
