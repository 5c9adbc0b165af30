"""`quorate server` processes with configurations of their own: each can be killed, paused, started again, given
an environment or a network namespace, by itself.

Signals go only to processes started here, by pid.
"""

import http.client
import json
import os
import secrets
import signal
import subprocess
import threading
import urllib.parse

import namespaces
from cluster import Timeout, free_base, wait_until


def make_certificates(folder, cluster, nodes):
    """An authority and one certificate per node, as docs/operating/deploy.md says."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "-x509", "-newkey", "ed25519", "-noenc", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", f"/CN=quorate {cluster}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")
    for node in range(nodes):
        openssl("req", "-newkey", "ed25519", "-noenc", "-keyout", f"node-{node}.key", "-out", f"node-{node}.csr",
                "-subj", f"/CN=quorate node {node}")
        with open(os.path.join(folder, f"node-{node}.ext"), "w", encoding="ascii") as extensions:
            extensions.write(f"subjectAltName=DNS:node-{node}.{cluster}.quorate.internal\n"
                             "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", f"node-{node}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"node-{node}.ext", "-out", f"node-{node}.pem")


class Client:
    """One connection to one node, made again when it breaks. For one thread."""

    def __init__(self, address, timeout=10):
        self.address, self.timeout = address, timeout
        self.connection = None

    def request(self, method, path, body=None, headers=None, timeout=None):
        """(status, headers in lower case, body). `OSError` when there was no answer."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=timeout or self.timeout)
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def key_path(key, keyspace="default"):
    return f"/v1/keyspaces/{keyspace}/keys/" + urllib.parse.quote(key, safe="")


class Servers:
    """`nodes` servers. With `network`, node `i` lives in its namespace and serves HTTP on the loopback there;
    clients `enter` it. `environment(node)` is added to that node's; with `relays`, nodes reach each other
    through them."""

    def __init__(self, binary, folder, nodes=3, network=None, environment=None, relays=None, extra=""):
        self.binary, self.folder, self.nodes, self.network = os.path.abspath(binary), folder, nodes, network
        self.environment = environment or (lambda node: {})
        self.base = free_base(nodes)
        self.processes = [None] * nodes
        os.makedirs(folder, exist_ok=True)
        cluster = secrets.token_hex(16)
        make_certificates(folder, cluster, nodes)
        peer = relays.peer(self.peer_address) if relays else lambda sender, receiver: self.peer_address(receiver)
        for node in range(nodes):
            self._configure(node, cluster, peer, extra)

    def peer_address(self, node):
        host = self.network.address(node) if self.network else "127.0.0.1"
        return f"{host}:{self.base + 100 + node}"

    def http_address(self, node):
        return "127.0.0.1", self.base + node

    def _configure(self, node, cluster, peer, extra):
        lines = [f'cluster = "{cluster}"', f"node = {node}", f'data_dir = "{self.folder}/data-{node}"']
        lines += ['http = "%s:%d"' % self.http_address(node), f'peer_listen = "{self.peer_address(node)}"']
        for member in range(self.nodes):
            address = self.peer_address(node) if member == node else peer(node, member)
            lines += ["[[members]]", f"node = {member}", f'peer = "{address}"']
            lines += ['http = "%s:%d"' % self.http_address(member)]
        lines += ["[tls]", f'authority = "{self.folder}/ca.pem"', f'certificate = "{self.folder}/node-{node}.pem"']
        lines += [f'key = "{self.folder}/node-{node}.key"', extra]
        with open(os.path.join(self.folder, f"node-{node}.toml"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def log_path(self, node):
        return os.path.join(self.folder, f"node-{node}.log")

    def last_words(self, node):
        with open(self.log_path(node), encoding="utf-8", errors="replace") as log:
            return log.read()[-1000:]

    def start(self, *nodes):
        """Starts these, or all."""
        for node in nodes or range(self.nodes):
            command = [self.binary, "server", "--config", os.path.join(self.folder, f"node-{node}.toml")]
            if self.network:
                command = ["ip", "netns", "exec", self.network.name(node), *command]
            with open(self.log_path(node), "a", encoding="utf-8") as log:
                self.processes[node] = subprocess.Popen(
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    env={**os.environ, **self.environment(node)})
        return self

    def signal(self, node, which):
        self.processes[node].send_signal(which)

    def kill(self, node):
        """kill -9, and waits until it is gone."""
        self.processes[node].kill()
        self.processes[node].wait(30)

    def ask(self, node, method, path, body=None, headers=None, timeout=10):
        """One request on a connection of its own, from within the node's namespace if it has one."""
        found = []

        def work():
            try:
                if self.network:
                    namespaces.enter(self.network.name(node))
                client = Client(self.http_address(node), timeout)
                found.append(client.request(method, path, body, headers))
                client.close()
            except OSError as error:
                found.append(error)

        if self.network is None:
            work()
        else:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def ask_json(self, node, path, timeout=2):
        """The JSON of a GET; None when the node does not answer 200."""
        try:
            status, _, body = self.ask(node, "GET", path, timeout=timeout)
        except OSError:
            return None
        return json.loads(body) if status == 200 else None

    def leader(self, nodes=None):
        """The node that leads `default`, by its own word and in the highest term; None without one."""
        views = [self.ask_json(node, "/v1/status") for node in nodes or range(self.nodes)]
        leaders = [(view["term"], view["node"]) for view in views if view and view["role"] == "leader"]
        return max(leaders)[1] if leaders else None

    def wait_leader(self, nodes=None, seconds=30):
        def found():
            leader = self.leader(nodes)
            return None if leader is None else (leader,)

        return wait_until("a leader", found, seconds)[0]

    def wait_ready(self, nodes=None, seconds=60):
        def ready(node):
            ended = self.processes[node].poll()
            assert ended is None, f"node {node} ended with {ended}: {self.last_words(node)}"
            try:
                return self.ask(node, "GET", "/readyz", timeout=2)[0] == 200
            except OSError:
                return False

        nodes = list(nodes or range(self.nodes))
        wait_until(f"nodes {nodes} ready", lambda: all(ready(node) for node in nodes), seconds)
        return self

    def wait_same_hash(self, keyspace="default", seconds=60):
        """Waits until all replicas have one state hash at one index, each verified against its own files."""
        def agreed():
            path = f"/v1/keyspaces/{keyspace}/hash?verify=true"
            answers = [self.ask_json(node, path, timeout=20) for node in range(self.nodes)]
            return all(answers) and len({(a["applied_index"], a["state_hash"]) for a in answers}) == 1

        wait_until("one state hash on all replicas", agreed, seconds)

    def stop(self):
        for process in self.processes:
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            if process:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


__all__ = ["Client", "Servers", "Timeout", "key_path", "wait_until"]
