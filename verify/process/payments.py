#!/usr/bin/env python3
"""Charges under idempotency keys, retried through random nodes while nodes are killed: each has one effect.

usage: payments.py BINARY [--seed N] [--charges N] [--clients N]

A charge is one transaction under one `Idempotency-Key`: it adds its amount to an account and counts how often its
own ledger entry was made. Clients repeat it through random nodes until it is answered, and sometimes once more. In
the end every entry was made exactly once, the accounts hold the sum of the charges, and every repeat, those after all
the kills included, was answered with the outcome of the first.
"""

import base64
import collections
import json
import os
import random
import threading
import time

import trial
from cluster import Cluster
from servers import Client

ACCOUNTS = 20
DEADLINE_S = 150
OUTCOME_FIELDS = ("succeeded", "revision", "responses")


class Charge:
    def __init__(self, number, dice):
        self.number = number
        self.account = f"account/{dice.randrange(ACCOUNTS)}"
        self.amount = dice.randrange(1, 1000)
        self.outcomes = []

    def body(self):
        entry = f"ledger/{self.number}"
        return json.dumps({"compares": [], "then": [
            {"increment": {"key": self.account, "by": self.amount}},
            {"increment": {"key": entry, "by": 1}},
        ], "else": []}).encode()

    def send(self, client):
        """Whether it was answered with an outcome; which is kept."""
        headers = {"Idempotency-Key": f'"charge-{self.number}"', "Quorate-Timeout-Ms": "2000"}
        try:
            status, _, said = client.request("POST", "/v1/keyspaces/default/txn", self.body(), headers, timeout=4)
        except OSError:
            return False
        answer = json.loads(said)
        if status != 200:
            assert answer["code"] not in ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED"), answer
            assert answer["retry_safe"], answer
            return False
        self.outcomes.append((tuple(json.dumps(answer[field]) for field in OUTCOME_FIELDS),
                              answer["receipt"]["deduplicated"]))
        return True


class Payer(threading.Thread):
    """Sends its charges one after the other, each until it is answered."""

    def __init__(self, cluster, charges, seed, until):
        super().__init__(daemon=True)
        self.charges, self.dice, self.until = charges, random.Random(seed), until
        self.clients = [Client(("127.0.0.1", cluster.base + node), timeout=4) for node in range(cluster.nodes)]
        self.sent = self.failed = 0
        self.failure = None

    def run(self):
        try:
            for charge in self.charges:
                self._pay(charge)
                if self.dice.random() < 0.05:
                    self._pay(charge)
        except Exception as error:
            self.failure = error

    def _pay(self, charge):
        while True:
            assert time.monotonic() < self.until, f"charge {charge.number} was not answered in time"
            self.sent += 1
            if charge.send(self.dice.choice(self.clients)):
                return
            self.failed += 1
            time.sleep(self.dice.uniform(0.005, 0.05))


def pay(cluster, charges, dice, clients, disturb=None):
    """All charges by so many threads; `disturb` is called until they are done. Returns (sent, failed)."""
    until = time.monotonic() + DEADLINE_S
    payers = [Payer(cluster, charges[n::clients], dice.random(), until) for n in range(clients)]
    for payer in payers:
        payer.start()
    while any(payer.is_alive() for payer in payers) and not any(payer.failure for payer in payers):
        if disturb:
            disturb()
        else:
            time.sleep(0.02)
    for payer in payers:
        if payer.failure:
            raise payer.failure
    return sum(payer.sent for payer in payers), sum(payer.failed for payer in payers)


def read_numbers(cluster, prefix):
    """Every key under a prefix, as the number it holds."""
    numbers, cursor = {}, ""
    while cursor is not None:
        path = "/v1/keyspaces/default/txn"
        operation = {"range": {"prefix": prefix}} if not cursor else {
            "range": {"key_base64": cursor, "range_end": prefix[:-1] + chr(ord(prefix[-1]) + 1)}}
        status, _, said = cluster.http(0, "POST", path, json.dumps({"compares": [], "then": [operation], "else": []}))
        assert status == 200, said
        answer = json.loads(said)["responses"][0]["range"]
        for item in answer["items"]:
            numbers[item["key"]] = item["value_base64"]
        cursor = answer["next_base64"]
    return {key: int(base64.b64decode(value)) for key, value in numbers.items()}


def payments(options, scratch, dice):
    charges = [Charge(number, dice) for number in range(options.charges)]
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        kills = 0

        def disturb():
            nonlocal kills
            time.sleep(dice.uniform(0.1, 0.8))
            node = dice.randrange(cluster.nodes)
            if all(cluster.is_ready(other) for other in range(cluster.nodes)):
                cluster.kill(node)
                kills += 1

        sent, failed = pay(cluster, charges, dice, options.clients, disturb)
        cluster.wait_ready(range(cluster.nodes))
        assert kills >= 5, f"only {kills} kills: too quick to say anything"
        replayed = dice.sample(charges, min(len(charges), 1000))
        pay(cluster, replayed, dice, options.clients)
        deduplicated = 0
        for charge in charges:
            assert len({outcome for outcome, _ in charge.outcomes}) == 1, (charge.number, charge.outcomes)
            deduplicated += sum(again for _, again in charge.outcomes)
        assert all(charge.outcomes[-1][1] for charge in replayed), "a replay was not told as one"
        ledger = read_numbers(cluster, "ledger/")
        wrong = {key: count for key, count in ledger.items() if count != 1}
        assert len(ledger) == len(charges) and not wrong, f"{len(ledger)} entries, made otherwise than once: {wrong}"
        owed = collections.Counter()
        for charge in charges:
            owed[charge.account] += charge.amount
        held = read_numbers(cluster, "account/")
        assert held == owed, (held, owed)
    return (f"{len(charges)} charges of {sum(owed.values())} in all, once each, after {kills} kills; {sent} sent, "
            f"{failed} without an answer, {deduplicated} answered again with the same outcome")


def add_arguments(parser):
    parser.add_argument("--charges", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)


if __name__ == "__main__":
    trial.main("payments", __doc__, payments, add_arguments)
