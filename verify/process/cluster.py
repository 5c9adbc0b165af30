"""A `quorate dev` cluster of real processes, driven from outside: its events, its HTTP, its kills.

Ends only processes that it started, by pid. Waits on conditions with a deadline, never on time alone.
"""

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
import urllib.parse


def free_base(count=3):
    """A base port such that base..base+count (HTTP) and base+100..base+100+count (peers) are free.

    Trials that run at once do not meet: each process begins in a block of 8 ports of its own, of which it has up to 4
    for HTTP, and the other 4 belong to the peers of another block."""
    for base in range(21000 + os.getpid() * 8 % 20000, 60000, 208):
        try:
            held = []
            for port in [*range(base, base + count), *range(base + 100, base + 100 + count)]:
                sock = socket.socket()
                held.append(sock)
                sock.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
    raise RuntimeError("no free ports")


class Timeout(Exception):
    """A condition did not come true in time."""


def wait_until(what, condition, seconds=30.0):
    """Polls until `condition()` is truthy and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Cluster:
    """`quorate dev` as a child process."""

    def __init__(self, binary, data_dir, nodes=3, base=None, restart=True):
        self.binary, self.data_dir, self.nodes = binary, data_dir, nodes
        self.base = base or free_base(nodes)
        self.restart = restart
        self.process = None
        self.pids = {}
        self.events = []
        self._queue = queue.Queue()

    def start(self, wait_ready=True):
        command = [self.binary, "dev", "--json", "--nodes", str(self.nodes)]
        command += ["--data-dir", self.data_dir, "--http-port", str(self.base)]
        command += [] if self.restart else ["--no-restart"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        self.stderr = []
        threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True).start()
        if wait_ready:
            self.wait_ready(range(self.nodes))
        return self

    def _read_events(self, stream):
        for line in stream:
            event = json.loads(line)
            self.events.append(event)
            if event.get("event") == "ready":
                self.pids[event["node"]] = event["pid"]

    def _read_errors(self, stream):
        for line in stream:
            self.stderr.append(line)

    def wait_ready(self, nodes, seconds=60):
        wait_until("nodes ready", lambda: all(self.is_ready(node) for node in nodes), seconds)
        wait_until("a leader", self.leader, seconds)

    def is_ready(self, node):
        try:
            return self.http(node, "GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def http(self, node, method, path, body=None, headers=None, timeout=10):
        """Returns (status, headers, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.base + node, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def put(self, node, key, value, timeout_ms=5000, headers=None):
        headers = {"Quorate-Timeout-Ms": str(timeout_ms), **(headers or {})}
        return self.http(node, "PUT", self.path(key), value, headers, timeout=timeout_ms / 1000 + 5)

    def get(self, node, key, timeout_ms=5000):
        headers = {"Quorate-Timeout-Ms": str(timeout_ms)}
        return self.http(node, "GET", self.path(key), None, headers, timeout=timeout_ms / 1000 + 5)

    @staticmethod
    def path(key):
        return "/v1/keyspaces/default/keys/" + urllib.parse.quote(key, safe="")

    def status(self, node):
        """What a node says of itself; None while it is down or still starting."""
        try:
            status, _, body = self.http(node, "GET", "/v1/status", timeout=2)
        except OSError:
            return None
        return json.loads(body) if status == 200 else None

    def leader(self):
        """The node that leads, by its own word and in the highest term, or None."""
        leaders = [(s["term"], s["node"]) for n in range(self.nodes) if (s := self.status(n)) and s["role"] == "leader"]
        return str(max(leaders)[1]) if leaders else None

    def leader_node(self, seconds=30):
        return int(wait_until("a leader", self.leader, seconds))

    def kill(self, node):
        """kill -9, and waits until the process is gone."""
        pid = self.pids[node]
        os.kill(pid, signal.SIGKILL)
        wait_until(f"node {node} is gone", lambda: self.pids.get(node) != pid or not alive(pid), 10)
        return pid

    def cli(self, *arguments, check=True, timeout=600):
        endpoints = ",".join(f"http://127.0.0.1:{self.base + node}" for node in range(self.nodes))
        environment = {**os.environ, "QUORATE_ENDPOINTS": endpoints}
        ran = subprocess.run(
            [self.binary, *arguments], capture_output=True, text=True, env=environment, timeout=timeout
        )
        if check and ran.returncode != 0:
            raise AssertionError(f"{arguments}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        return ran

    def stop(self):
        """Ctrl-C; returns the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError("quorate dev did not stop within 20 s of Ctrl-C") from None
        return self.process.returncode if self.process else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
