#!/usr/bin/env python3
"""Three nodes, each in a network namespace of its own, and links that are cut without a sound.

usage: partition.py BINARY [--seed N] [--rounds N]

A node is cut off (the leader, a follower; both directions, or one alone) while clients beside every node write and
read. The cut-off side must answer NO_QUORUM promptly, the majority must go on within the bound below, all must serve
when the network heals, and everything that all clients saw must be linearizable. Needs root and `ip`; says
`not run` without them.
"""

import os
import shutil
import statistics
import threading
import time

import namespaces
import trial
from history import History, Register
from servers import Client, Servers, wait_until

# A leader that hears nobody leads on for up to two of its checks, 400 ms each; only then do followers that still
# hear it miss it. A follower waits 400 to 800 ms before it stands for election (20 to 40 ticks of 20 ms). Two may stand
# at once and share the votes (one time in twenty), so the bound has three of the longest waits, and the answer to one probe.
PROBE_TIMEOUT_MS = 300
RESUME_BOUND_S = 0.8 + 3 * 0.8 + PROBE_TIMEOUT_MS / 1000
# From the cut to the first refusal: one election timeout until the leader notices that nobody answers it, then
# `no_quorum_after_ms` (2,500), then some scheduling.
REFUSAL_BOUND_S = 0.8 + 2.5 + 1.0
# Once it refuses, it does so at once.
PROMPT_BOUND_S = 1.0
# Peers connect again at most this long after the network is whole.
HEAL_BOUND_S = 15.0
CUT_S = 6.0
KEYS = 4


class Beside(threading.Thread):
    """A client in one node's namespace that talks to that node alone; notes when what was answered."""

    def __init__(self, servers, history, process, node, timeout_ms, writes_only):
        super().__init__(daemon=True)
        self.servers, self.node, self.writes_only = servers, node, writes_only
        self.register = Register(history, process, Client(servers.http_address(node)), timeout_ms)
        self.round = 0
        self.stopping = False
        self.failure = None
        self.answers = []

    def run(self):
        try:
            namespaces.enter(self.servers.network.name(self.node))
            turn = 0
            while not self.stopping:
                turn += 1
                key = f"r{self.round}-k{(turn + self.node) % KEYS}"
                began = time.monotonic()
                work = self.register.write if self.writes_only or turn % 3 else self.register.read
                kind, said = work(key)
                self.answers.append((began, time.monotonic(), work.__name__, kind, said))
                if kind != "ok":
                    time.sleep(0.02)
                else:
                    time.sleep(0.005)
        except Exception as error:
            self.failure = error

    def after(self, moment):
        return [answer for answer in list(self.answers) if answer[0] >= moment]


def cut_links(network, case, victim):
    for other in range(network.nodes):
        if other != victim:
            if case != "deaf":
                network.cut(victim, other)
            if case != "mute":
                network.cut(other, victim)


def first_ok(clients, moment):
    ends = [end for client in clients for (_, end, name, kind, _) in client.after(moment)
            if name == "write" and kind == "ok"]
    return min(ends, default=None)


def links_up(servers):
    def up(node):
        try:
            _, _, page = servers.ask(node, "GET", "/metrics", timeout=2)
        except OSError:
            return False
        links = [line for line in page.decode().splitlines() if line.startswith("quorate_peer_connected{")]
        return len(links) == servers.nodes - 1 and all(float(line.rsplit(None, 1)[1]) == 1 for line in links)

    return all(up(node) for node in range(servers.nodes))


def one_cut(servers, network, patient, probes, case, victim, victim_led, measured):
    """Cuts `victim` off in the way of `case`, heals, and adds what was measured."""
    others = [node for node in range(network.nodes) if node != victim]
    cut_links(network, case, victim)
    cut_at = time.monotonic()
    majority = [probes[node] for node in others]
    resumed = wait_until("the majority resumes", lambda: first_ok(majority, cut_at), 20) - cut_at
    if victim_led:
        measured["writes resumed without the leader"].append(resumed)
    time.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    refused = [(begin, end) for (begin, end, _, kind, said) in patient[victim].after(cut_at - 5)
               if end > cut_at and said == "NO_QUORUM"]
    assert refused, f"node {victim} never said NO_QUORUM: {patient[victim].after(cut_at)[-5:]}"
    measured["first refusal"].append(refused[0][1] - cut_at)
    measured["later refusals"].append(max((end - begin for begin, end in refused[1:]), default=0.0))
    late = [answer for answer in probes[victim].after(cut_at + 1.0) if answer[3] == "ok"]
    assert not late, f"node {victim}, cut off, acknowledged writes: {late[:3]}"
    network.heal()
    healed_at = time.monotonic()

    def all_serve():
        return all(first_ok([probe], healed_at) for probe in probes)

    wait_until("all serve after the network healed", all_serve, HEAL_BOUND_S)
    measured["healed"].append(time.monotonic() - healed_at)
    # The next cut is to be the only one: until then every node can send to every other.
    wait_until("all links are up", lambda: links_up(servers), HEAL_BOUND_S)
    measured["all links up"].append(time.monotonic() - healed_at)
    assert resumed <= RESUME_BOUND_S, f"{case}: the majority resumed after {resumed:.2f} s of {RESUME_BOUND_S:.1f} s"
    first = measured["first refusal"][-1]
    assert first <= REFUSAL_BOUND_S, f"{case}: first NO_QUORUM after {first:.2f} s of {REFUSAL_BOUND_S} s"
    later = measured["later refusals"][-1]
    assert later <= PROMPT_BOUND_S, f"{case}: a later NO_QUORUM took {later:.2f} s"


def partition(options, scratch, dice):
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise trial.NotRun("network namespaces need root and the tool `ip` (iproute2)")
    try:
        network = namespaces.Network(3)
    except namespaces.NotPermitted as error:
        raise trial.NotRun(f"this machine does not permit network namespaces: {error}") from error
    try:
        with Servers(options.binary, scratch, network=network).start().wait_ready() as servers:
            history = History(os.path.join(scratch, "history.jsonl"))
            probes = [Beside(servers, history, node, node, PROBE_TIMEOUT_MS, True) for node in range(3)]
            patient = [Beside(servers, history, 3 + node, node, 8000, False) for node in range(3)]
            for client in [*probes, *patient]:
                client.start()
            wait_until("all serve", lambda: all(first_ok([probe], 0) for probe in probes), 30)
            names = ["writes resumed without the leader", "first refusal", "later refusals", "healed", "all links up"]
            measured = {name: [] for name in names}
            cuts = 0
            for round_number in range(options.rounds):
                cases = [("leader", case) for case in ("silent", "mute", "deaf")] + [("follower", "silent")]
                dice.shuffle(cases)
                for role, case in cases:
                    cuts += 1
                    leader = servers.wait_leader()
                    victim = leader if role == "leader" else dice.choice([n for n in range(3) if n != leader])
                    for client in [*probes, *patient]:
                        client.round = cuts
                    one_cut(servers, network, patient, probes, case, victim, role == "leader", measured)
                    shown = [(name, values) for name, values in measured.items() if values]
                    shown = [pair for pair in shown if role == "leader" or pair[0] != "writes resumed without the leader"]
                    line = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in shown)
                    print(f"  round {round_number} {role} {victim} {case}: {line}", flush=True)
            for client in [*probes, *patient]:
                client.stopping = True
            for client in [*probes, *patient]:
                client.join(30)
                if client.failure:
                    raise client.failure
            servers.wait_same_hash()
            verdict = history.judge(options)
    finally:
        network.remove()
    figures = ", ".join(f"{name} {statistics.median(values):.2f} s (at most {max(values):.2f} s)"
                      for name, values in measured.items())
    return f"{cuts} cuts; {figures}; {history.said()}; linearizable: {verdict}"


def add_arguments(parser):
    parser.add_argument("--rounds", type=int, default=2)


if __name__ == "__main__":
    trial.main("partition", __doc__, partition, add_arguments)
