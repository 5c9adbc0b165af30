"""Trials of losing and regaining a majority."""

import json
import os
import subprocess
import time

from cluster import Cluster, wait_until


def problem(answer):
    status, headers, body = answer
    assert headers.get("content-type") == "application/problem+json", (status, headers, body)
    return json.loads(body)


def two_of_three_lost(options, scratch):
    """The survivor refuses reads and writes with NO_QUORUM in time; one node more and it serves again."""
    data = os.path.join(scratch, "data")
    with Cluster(options.binary, data, restart=False).start() as cluster:
        assert cluster.put(0, "kept", b"value")[0] in (200, 201)
        survivor = cluster.leader_node()
        others = [node for node in range(3) if node != survivor]
        for node in others:
            cluster.kill(node)
        slowest = 0
        for attempt in range(4):
            for method, body in [("PUT", b"x"), ("GET", None)]:
                began = time.monotonic()
                headers = {"Quorate-Timeout-Ms": "4000"}
                answer = cluster.http(survivor, method, cluster.path("other"), body, headers, timeout=10)
                took = time.monotonic() - began
                slowest = max(slowest, took)
                said = problem(answer)
                assert answer[0] == 503 and said["code"] == "NO_QUORUM", said
                assert took <= 4.0, f"{method} took {took:.2f} s of 4 s"
                if method == "PUT" and attempt > 1:
                    assert said["applied"] == "not_applied", said
        returned = others[0]
        config = os.path.join(data, f"node-{returned}.toml")
        log = open(os.path.join(scratch, "returned.log"), "w")
        child = subprocess.Popen(
            [options.binary, "server", "--config", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            def served():
                return cluster.put(survivor, "after", b"again", timeout_ms=1000)[0] in (200, 201)

            wait_until("service resumes", served, 30)
            assert cluster.get(survivor, "kept")[2] == b"value"
        finally:
            child.terminate()
            child.wait(20)
    return f"refused within {slowest:.2f} s of the 4 s asked for, resumed with two of three"


def all_three_killed(options, scratch):
    """kill -9 of all at once loses nothing that was acknowledged."""
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        acknowledged = {}
        for round_number in range(3):
            for number in range(100):
                key, value = f"k{number}", f"{round_number}-{number}".encode()
                if cluster.put(number % 3, key, value)[0] in (200, 201):
                    acknowledged[key] = value
            before = dict(cluster.pids)
            for pid in before.values():
                os.kill(pid, 9)
            wait_until("new processes", lambda: all(cluster.pids[n] != pid for n, pid in before.items()), 60)
            cluster.wait_ready(range(3))
            for number, (key, value) in enumerate(acknowledged.items()):
                status, _, body = cluster.get(number % 3, key)
                assert (status, body) == (200, value), (key, status, body, value)
        hashes = set()

        def agreed():
            hashes.clear()
            for node in range(3):
                status, _, body = cluster.http(node, "GET", "/v1/keyspaces/default/hash?verify=true")
                assert status == 200, body
                answer = json.loads(body)
                hashes.add((answer["applied_index"], answer["state_hash"]))
            return len(hashes) == 1

        wait_until("all replicas have one state hash at one index", agreed, 30)
    return f"{len(acknowledged)} keys there after three kills of everything; one state hash"


TRIALS = [two_of_three_lost, all_three_killed]
