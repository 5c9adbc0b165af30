#!/usr/bin/env python3
"""What a failover loses of writes with ack=leader is what `GET /v1/lost-writes` lists, no more and no less.

usage: lost_writes.py BINARY [--seed N] [--kills N]

Clients write every key once, with ack=leader, to the leader. Its links are silenced, it goes on acknowledging for a
moment, and is killed (`kill -9`) or left alone. Another node leads; the old leader comes back. Then every write that was
acknowledged and is not there must be listed, nothing that is there may be, and nothing else but writes whose
answer never came.
"""

import json
import threading
import time
import urllib.parse

import trial
from relays import Relays
from servers import Client, Servers, key_path, wait_until

KEYSPACE = "fast"
WRITERS = 2
# The list names 10,000 lost writes one by one: 20 failovers must not lose more.
PACE_S = 0.003
# Acknowledged before the cut, and after it by the leader that is cut off: it leads on for 400 ms at least.
BEFORE, AFTER = 40, 80
HEAL_BOUND_S = 60


class Writer(threading.Thread):
    """Writes keys of its own to one node until it is told to stop."""

    def __init__(self, servers, node, name):
        super().__init__(daemon=True)
        self.client, self.name_of = Client(servers.http_address(node), timeout=5), name
        self.stopping, self.acknowledged, self.unanswered, self.failure = False, set(), set(), None

    def run(self):
        number = 0
        while not self.stopping:
            number += 1
            key = f"{self.name_of}-{number}"
            headers = {"quorate-client": "lost_writes.py", "quorate-request-id": key, "quorate-timeout-ms": "1000"}
            try:
                status, _, _ = self.client.request("PUT", key_path(key, KEYSPACE) + "?ack=leader", b"x", headers)
            except OSError:
                self.unanswered.add(key)
                return
            (self.acknowledged if status in (200, 201, 202) else self.unanswered).add(key)
            time.sleep(PACE_S)


def keys(servers, node):
    """Every key of the keyspace, by strong reads; None while the node cannot answer."""
    found, cursor = set(), ""
    while True:
        page = servers.ask_json(node, f"/v1/keyspaces/{KEYSPACE}/keys?limit=1000{cursor}", timeout=10)
        if page is None:
            return None
        found.update(item["key"] for item in page["items"])
        if page["next"] is None:
            return found
        cursor = "&cursor=" + urllib.parse.quote(page["next"])


def listed(servers, node):
    items, after = [], ""
    while True:
        page = servers.ask_json(node, f"/v1/lost-writes{after}", timeout=10)
        if page is None:
            return None
        items += page["items"]
        if page["next"] is None:
            return items
        after = "?after=" + page["next"]


def settled(servers):
    """The list, once nothing on it is undecided and no bound is left."""
    items = listed(servers, 0)
    if items is None or any(item["kind"] == "bound" or item.get("state") == "undecided" for item in items):
        return None
    return (items,)


def leader_of(servers, nodes):
    def led(node):
        status = servers.ask_json(node, "/v1/status")
        groups = status["groups"] if status else []
        return next(((g["term"], node) for g in groups if g["keyspace"] == KEYSPACE and g["role"] == "leader"), None)

    leaders = [found for found in map(led, nodes) if found]
    return max(leaders)[1] if leaders else None


def found(leader):
    return None if leader is None else (leader,)


def one_loss(servers, relays, number, kill, acknowledged, unanswered):
    everyone = list(range(servers.nodes))
    leader = wait_until("a leader", lambda: found(leader_of(servers, everyone)), 30)[0]
    writers = [Writer(servers, leader, f"r{number}-w{writer}") for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    def count():
        return sum(len(writer.acknowledged) for writer in writers)

    wait_until("some writes are acknowledged", lambda: count() >= BEFORE, 30)
    for link in relays.of(leader):
        link.silent = True
    cut_at = count()
    # It may step down first: then there are fewer.
    wait_until("the leader acknowledges what nobody else has, or steps down",
               lambda: count() >= cut_at + AFTER or leader_of(servers, [leader]) is None, 30)
    if kill:
        servers.kill(leader)
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(20)
        acknowledged |= writer.acknowledged
        unanswered |= writer.unanswered
    others = [node for node in everyone if node != leader]
    wait_until("another leader", lambda: leader_of(servers, others) is not None, 30)
    for link in relays.of(leader):
        link.restore()
    if kill:
        servers.start(leader)
    servers.wait_ready()


def lost_writes(options, scratch, dice):
    relays = Relays()
    with Servers(options.binary, scratch, relays=relays).start().wait_ready() as servers:
        contract = json.dumps({"ack": "leader"}).encode()
        status, _, said = servers.ask(0, "PUT", f"/v1/keyspaces/{KEYSPACE}", contract,
                                      {"content-type": "application/json"})
        assert status in (200, 201), said
        servers.wait_ready()
        acknowledged, unanswered = set(), set()
        for number in range(options.kills):
            one_loss(servers, relays, number, dice.random() < 0.7, acknowledged, unanswered)
        servers.wait_same_hash(KEYSPACE)
        items = wait_until("the list is settled", lambda: settled(servers), HEAL_BOUND_S)[0]
        there = keys(servers, 0)
        on_list = {item["key"] for item in items}
        lost = acknowledged - there
        assert all(item["request_id"] == item["key"] and item["client"] == "lost_writes.py" for item in items), items[:3]
        assert lost <= on_list, f"{len(lost - on_list)} lost writes are not listed: {sorted(lost - on_list)[:5]}"
        assert not on_list & there, f"listed, and there: {sorted(on_list & there)[:5]}"
        assert on_list <= lost | unanswered, f"nobody wrote these: {sorted(on_list - lost - unanswered)[:5]}"
        assert lost, "nothing was lost: the trial shows nothing"
        for start in range(0, len(items), 100):
            ids = ",".join(item["id"] for item in items[start:start + 100])
            status, _, said = servers.ask(0, "DELETE", "/v1/lost-writes?ids=" + ids)
            assert status == 200, said
        assert listed(servers, 0) == [], "what was acknowledged is still listed"
    return (f"{options.kills} failovers, {len(acknowledged)} writes acknowledged, {len(lost)} of them lost, all of them listed; "
            f"{len(on_list - lost)} listed whose answer never came, of {len(unanswered)} such")


def add_arguments(parser):
    parser.add_argument("--kills", type=int, default=20)


if __name__ == "__main__":
    trial.main("lost_writes", __doc__, lost_writes, add_arguments)
