"""Trials with much data: a node that lags by more than the log in memory, and more data than memory."""

import concurrent.futures
import http.client
import json
import os
import random
import subprocess

from cluster import Cluster, alive, wait_until

MIB = 1024 * 1024


def write(cluster, node, megabytes, value_bytes, clients=16):
    """Writes so much, over connections that stay open; returns the seed of every key's value."""
    per_client = megabytes * MIB // value_bytes // clients

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", cluster.base + node, timeout=30)
        for count in range(per_client):
            key = f"{number}-{count}"
            connection.request("PUT", cluster.path(key), random.Random(key).randbytes(value_bytes))
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status in (200, 201), (answer.status, said)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return [f"{number}-{count}" for number in range(clients) for count in range(per_client)]


def memory_mib(pid, field):
    """VmRSS (now) or VmHWM (the most so far) of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) // 1024


def lagging_node_gets_a_snapshot(options, scratch):
    """A follower that missed more than the leader's log in memory catches up by a snapshot."""
    data = os.path.join(scratch, "data")
    with Cluster(options.binary, data, restart=False).start() as cluster:
        leader = cluster.leader_node()
        lagging = (leader + 1) % 3
        cluster.kill(lagging)
        write(cluster, leader, 320, 200_000)
        log = open(os.path.join(scratch, "lagging.log"), "w+", encoding="utf-8")
        config = os.path.join(data, f"node-{lagging}.toml")
        child = subprocess.Popen(
            [options.binary, "server", "--config", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            def caught_up():
                applied = {(cluster.status(node) or {}).get("applied_index") for node in range(3)}
                return len(applied) == 1 and applied != {None}

            wait_until("the node catches up", caught_up, 120)
            peak = memory_mib(child.pid, "VmHWM")
            log.seek(0)
            assert "installed a snapshot" in log.read(), "it caught up, but not by a snapshot"
            hashes = set()
            for node in range(3):
                status, _, body = cluster.http(node, "GET", "/v1/keyspaces/default/hash?verify=true", timeout=60)
                answer = json.loads(body)
                assert status == 200 and answer["verified"]["matches"], body
                hashes.add(answer["state_hash"])
            assert len(hashes) == 1, hashes
        finally:
            child.terminate()
            child.wait(20)
    return f"320 MiB behind, one state hash after the snapshot, {peak} MiB of memory at most"


def data_larger_than_memory(options, scratch):
    """A node serves more data than it may ever hold in memory, also right after a restart."""
    with Cluster(options.binary, os.path.join(scratch, "data"), nodes=1).start() as cluster:
        keys = write(cluster, 0, options.megabytes, 100_000)
        peak = memory_mib(cluster.pids[0], "VmHWM")
        assert peak < options.megabytes * 0.6, f"{peak} MiB of memory for {options.megabytes} MiB of data"
        before = cluster.pids[0]
        os.kill(before, 9)
        wait_until("a new process", lambda: cluster.pids[0] != before and alive(cluster.pids[0]), 60)
        cluster.wait_ready([0], 120)
        for key in random.Random(options.seed).sample(keys, 1_000):
            status, _, body = cluster.get(0, key)
            assert status == 200 and body == random.Random(key).randbytes(100_000), key
        peak = max(peak, memory_mib(cluster.pids[0], "VmHWM"))
        assert peak < options.megabytes * 0.6, f"{peak} MiB of memory for {options.megabytes} MiB of data"
    return f"{options.megabytes} MiB of data served with at most {peak} MiB of memory"


TRIALS = [lagging_node_gets_a_snapshot, data_larger_than_memory]
