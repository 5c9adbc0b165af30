#!/usr/bin/env python3
"""Leaders are killed while clients write with `ack=leader`: what was lost is listed, exactly.

usage: lost_writes.py BINARY [--seed N] [--kills N]

Before each kill the leader's links fall silent for a moment, so that it acknowledges writes that nobody else has; it
dies before it notices. When it is back: every write that was acknowledged can be read or is listed by
`GET /v1/lost-writes`, never both and never neither; what was never answered may be listed too, if it cannot be read,
and is then not said to have been acknowledged; nothing else is listed, and nothing with `ack=quorum` is lost.
"""

import base64
import json
import threading
import time
import urllib.parse

import trial
from relays import Relays
from servers import Client, Servers, key_path, wait_until

CLIENTS = 4


class Writer(threading.Thread):
    """Writes keys that nobody else writes through one node, until told to stop; each once."""

    def __init__(self, servers, node, name, ack):
        super().__init__(daemon=True)
        self.client, self.name_, self.ack = Client(servers.http_address(node), timeout=3), name, ack
        self.acknowledged, self.unknown, self.refused = [], [], []
        self.stopping = False
        self.failure = None

    def run(self):
        try:
            number = 0
            while not self.stopping:
                number += 1
                self._write(f"{self.name_}-{number}")
        except Exception as error:
            self.failure = error

    def _write(self, key):
        headers = {"Quorate-Timeout-Ms": "2000"}
        try:
            status, _, said = self.client.request("PUT", f"{key_path(key)}?ack={self.ack}", key.encode(), headers)
        except OSError:
            self.unknown.append(key)
            time.sleep(0.02)
            return
        if status in (200, 201, 202):
            self.acknowledged.append(key)
            return
        problem = json.loads(said)
        assert problem["code"] != "INVALID_ARGUMENT", problem
        (self.refused if problem["applied"] == "not_applied" else self.unknown).append(key)
        time.sleep(0.02)


def text_key(entry):
    """The key of a listed write: percent-encoded text, or base64 beside it."""
    if "key_base64" in entry:
        return base64.b64decode(entry["key_base64"]).decode()
    return urllib.parse.unquote(entry["key"])


def lost_writes(servers, node):
    """Every listed write by key, from one node's answer; None while it does not answer."""
    answer = servers.ask_json(node, "/v1/lost-writes?keyspace=default", timeout=10)
    if answer is None:
        return None
    listed = {}
    for report in answer["reports"]:
        for write in report["writes"]:
            key = text_key(write)
            assert key not in listed, f"{key} is listed twice: {answer}"
            listed[key] = write
    return listed


def present(servers, keys):
    """Which of the keys can be read, linearizably."""
    client, found = Client(servers.http_address(0)), set()
    for key in keys:
        status, headers, said = client.request("GET", f"{key_path(key)}?read=strong")
        assert status == 200 or headers.get("quorate-error") == "KEY_NOT_FOUND", (status, said)
        if status == 200:
            found.add(key)
    client.close()
    return found


def one_kill(servers, relays, number, dice):
    """Kills the leader in its silence and brings it back; returns the writers that wrote meanwhile."""
    leader = servers.wait_leader()
    seeds = [("leader", n) for n in range(CLIENTS)] + [("quorum", CLIENTS)]
    writers = [Writer(servers, leader, f"kill{number}-{ack}{n}", ack) for ack, n in seeds]
    for writer in writers:
        writer.start()
    wait_until("writes", lambda: all(writer.acknowledged or writer.failure for writer in writers), 20)
    time.sleep(dice.uniform(0.0, 0.1))
    links = relays.of(leader)
    if dice.random() < 0.8:
        for link in links:
            link.silent = True
        # Less than the shortest election timeout, 400 ms: it still believes that it leads.
        time.sleep(dice.uniform(0.05, 0.3))
    servers.kill(leader)
    for writer in writers:
        writer.stopping = True
    survivors = [node for node in range(servers.nodes) if node != leader]
    servers.wait_leader(survivors)
    for writer in writers:
        writer.join(20)
        if writer.failure:
            raise writer.failure
    for link in links:
        link.restore()
    servers.start(leader).wait_ready()
    servers.wait_same_hash()
    return writers


def check_exactly(servers, writers, seconds=20):
    """Compares what is listed with what is missing; waits for the report, which is written after the node is back."""
    acknowledged = {key for writer in writers for key in writer.acknowledged if writer.ack == "leader"}
    durable = {key for writer in writers for key in writer.acknowledged if writer.ack == "quorum"}
    unknown = {key for writer in writers for key in writer.unknown}
    refused = {key for writer in writers for key in writer.refused}
    found = present(servers, sorted(acknowledged | durable | unknown | refused))
    assert durable <= found, f"lost although on a majority: {sorted(durable - found)[:5]}"
    assert not refused & found, f"there although refused: {sorted(refused & found)[:5]}"
    missing = acknowledged - found

    def listed():
        answers = [lost_writes(servers, node) for node in range(servers.nodes)]
        same = all(answer is not None and answer.keys() == answers[0].keys() for answer in answers)
        return answers[0] if same and missing <= answers[0].keys() else None

    try:
        reported = wait_until("all nodes list what is missing", listed, seconds) if missing else lost_writes(servers, 0)
    except Exception as error:
        told = (lost_writes(servers, 0) or {}).keys()
        raise AssertionError(f"missing and not listed: {sorted(missing - told)[:10]} of {len(missing)}") from error
    return missing, unknown, found, reported


def trial_of_lost_writes(options, scratch, dice):
    relays = Relays()
    with Servers(options.binary, scratch, relays=relays).start().wait_ready() as servers:
        all_writers, lost, losing_kills = [], set(), 0
        for number in range(options.kills):
            writers = one_kill(servers, relays, number, dice)
            all_writers += writers
            missing, _, _, _ = check_exactly(servers, writers)
            lost |= missing
            losing_kills += bool(missing)
            acknowledged = sum(len(writer.acknowledged) for writer in writers)
            print(f"  kill {number}: {acknowledged} acknowledged, {len(missing)} lost", flush=True)
        missing, unknown, found, reported = check_exactly(servers, all_writers)
        assert missing == lost, "what was lost changed afterwards"
        extra = reported.keys() - missing
        assert extra <= unknown - found, f"listed, and not lost: {sorted(extra - (unknown - found))[:5]}"
        wrong = [key for key in missing if reported[key].get("acknowledged") is False]
        assert not wrong, f"acknowledged, and listed as not acknowledged: {wrong[:5]}"
        acknowledged = sum(len(writer.acknowledged) for writer in all_writers)
        assert losing_kills, "no kill lost anything: the trial shows nothing"
    return (f"{options.kills} kills of the leader, {acknowledged} writes acknowledged, {len(missing)} of them lost in "
            f"{losing_kills} kills and every one listed, with {len(extra)} never answered; nothing else listed")


def add_arguments(parser):
    parser.add_argument("--kills", type=int, default=20)


if __name__ == "__main__":
    trial.main("lost_writes", __doc__, trial_of_lost_writes, add_arguments)
