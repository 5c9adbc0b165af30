"""Trials of bad input: damaged files, wrong directories, garbage on ports, values over limits, full disks."""

import glob
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess

from cluster import Cluster, free_base, wait_until


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def stopped_cluster(options, scratch, writes=400):
    """A cluster's data directory with some history, and its base port."""
    data = os.path.join(scratch, "data")
    with Cluster(options.binary, data).start() as cluster:
        for number in range(writes):
            assert cluster.put(number % 3, f"k{number}", os.urandom(256))[0] in (200, 201)
        base = cluster.base
    return data, base


def start_server(options, data, node, timeout=30):
    """Runs one server that is expected to refuse; returns (status, everything it said)."""
    config = os.path.join(data, f"node-{node}.toml")
    ran = subprocess.run(
        [options.binary, "server", "--config", config],
        capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
    )
    return ran.returncode, ran.stdout + ran.stderr


def log_files(data, node):
    found = sorted(glob.glob(os.path.join(data, f"node-{node}", "**", "wal-*.log"), recursive=True))
    assert found, f"no log of node {node} under {data}"
    return found


def flipped_byte_in_the_log(options, scratch):
    """Damage in the middle refuses to start, names file and offset, rewrites nothing; the others serve."""
    data, base = stopped_cluster(options, scratch)
    path = log_files(data, 1)[0]
    with open(path, "r+b") as file:
        file.seek(4096 + 2000)
        byte = file.read(1)[0]
        file.seek(4096 + 2000)
        file.write(bytes([byte ^ 0x10]))
    before = digest(path)
    status, said = start_server(options, data, 1)
    assert status != 0 and os.path.basename(path) in said and "offset" in said, (status, said)
    assert digest(path) == before, "the damaged file was rewritten"
    with Cluster(options.binary, data, base=base).start(wait_ready=False) as cluster:
        cluster.wait_ready([0, 2])
        wait_until("a write by the two others", lambda: cluster.put(0, "after", b"x")[0] in (200, 201), 30)
    assert digest(path) == before, "the damaged file was rewritten"
    return said.strip().splitlines()[-1][:160]


def truncated_segment(options, scratch):
    data, _ = stopped_cluster(options, scratch, writes=50)
    path = log_files(data, 0)[0]
    os.truncate(path, os.path.getsize(path) // 2)
    before = digest(path)
    status, said = start_server(options, data, 0)
    assert status != 0 and os.path.basename(path) in said, (status, said)
    assert digest(path) == before
    return said.strip().splitlines()[-1][:160]


def another_nodes_directory(options, scratch):
    data, _ = stopped_cluster(options, scratch, writes=10)
    names = [os.path.join(data, f"node-{node}") for node in (0, 1)]
    spare = os.path.join(data, "spare")
    os.rename(names[0], spare)
    os.rename(names[1], names[0])
    os.rename(spare, names[1])
    status, said = start_server(options, data, 0)
    assert status != 0 and "node 1" in said and "node 0" in said, (status, said)
    return said.strip().splitlines()[-1][:160]


def another_version(options, scratch):
    data, _ = stopped_cluster(options, scratch, writes=10)
    path = log_files(data, 0)[0]
    identity = glob.glob(os.path.join(data, "node-0", "**", "IDENTITY"), recursive=True)[0]
    with open(identity, encoding="utf-8") as file:
        text = file.read()
    assert "version" in text, text
    before = digest(path)
    changed = re.sub(r"(version[^0-9\n]*)\d+", r"\g<1>99", text)
    assert changed != text, text
    with open(identity, "w", encoding="utf-8") as file:
        file.write(changed)
    status, said = start_server(options, data, 0)
    assert status != 0 and ("version" in said or "checksum" in said), (status, said)
    assert digest(path) == before
    return said.strip().splitlines()[-1][:160]


def port_in_use(options, scratch):
    base = free_base()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", base + 1))
        holder.listen()
        ran = subprocess.run(
            [options.binary, "dev", "--data-dir", os.path.join(scratch, "data"), "--http-port", str(base)],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0 and str(base + 1) in said and "--http-port" in said, (ran.returncode, said)
    return said.strip().splitlines()[-1][:160]


def over_the_limits(options, scratch):
    with Cluster(options.binary, os.path.join(scratch, "data"), nodes=1).start() as cluster:
        for key, value, wanted in [("k" * 5000, b"v", (400, 414)), ("big", b"v" * (1024 * 1024 + 1), (413,))]:
            status, _, body = cluster.put(0, key, value)
            assert status in wanted, (status, body[:300])
            assert json.loads(body)["code"] == "INVALID_ARGUMENT", body
        assert cluster.put(0, "big", b"v" * (1024 * 1024))[0] == 201, "a value of exactly the limit"
        assert cluster.get(0, "big")[2] == b"v" * (1024 * 1024)
    return "key of 5,000 bytes and value of 1 MiB + 1 refused; value of 1 MiB kept"


def garbage_on_every_port(options, scratch):
    """Nothing that anybody sends stops a node or loses a write."""
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        before = dict(cluster.pids)
        assert cluster.put(0, "kept", b"value")[0] == 201
        client_hello = bytes.fromhex("16030100c8010000c40303") + os.urandom(190)
        junk = [os.urandom(4096), b"\x00" * 65536, b"\xff" * 65536, client_hello, b"GET / HTTP/9.9\r\n\r\n", b"QRTE" + b"\xff" * 64]
        for port in [*range(cluster.base, cluster.base + 3), *range(cluster.base + 100, cluster.base + 103)]:
            for piece in junk:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                    sock.settimeout(5)
                    try:
                        sock.sendall(piece)
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(65536):
                            pass
                    except OSError:
                        pass
        assert cluster.get(1, "kept")[2] == b"value"
        assert cluster.put(2, "kept", b"more")[0] == 200
        assert cluster.pids == before, "a node was restarted"
    return f"{6 * len(junk)} pieces of junk, no node noticed"


def stranger_without_certificate(options, scratch):
    """A peer without a certificate of the cluster's authority is turned away."""
    if not shutil.which("openssl"):
        raise AssertionError("openssl is needed for this trial: apt-get install openssl")
    with Cluster(options.binary, os.path.join(scratch, "data")).start() as cluster:
        key, certificate = os.path.join(scratch, "k.pem"), os.path.join(scratch, "c.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", certificate,
             "-subj", "/CN=node-1", "-days", "1"], check=True, capture_output=True,
        )
        alerts = []
        for chain in (None, (certificate, key)):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if chain:
                context.load_cert_chain(*chain)
            with socket.create_connection(("127.0.0.1", cluster.base + 100), timeout=10) as sock:
                try:
                    with context.wrap_socket(sock) as secured:
                        # TLS 1.3 servers judge the client's certificate after the client's handshake is done.
                        answer = secured.recv(1)
                        raise AssertionError(f"the stranger was answered {answer!r}")
                except ssl.SSLError as error:
                    alerts.append(error.reason)
        assert all("ALERT" in alert for alert in alerts), alerts
        assert cluster.put(0, "kept", b"value")[0] == 201
    return ", ".join(alerts)


def full_disk(options, scratch):
    """A full disk refuses writes with NO_SPACE, goes on reading, loses nothing, and recovers by itself."""
    disk = os.path.join(scratch, "disk")
    os.mkdir(disk)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        raise AssertionError(f"this trial mounts a small tmpfs and needs root: {mounted.stderr.decode()}")
    try:
        with Cluster(options.binary, os.path.join(disk, "data"), nodes=1).start() as cluster:
            assert cluster.put(0, "kept", b"value")[0] == 201
            ballast = os.path.join(disk, "ballast")
            with open(ballast, "wb") as file:
                try:
                    while True:
                        file.write(b"\0" * (1 << 20))
                        file.flush()
                except OSError:
                    pass

            def refused():
                status, _, body = cluster.put(0, "other", b"x" * 1000)
                return status == 507 and json.loads(body)

            said = wait_until("writes are refused", refused, 30)
            assert said["code"] == "NO_SPACE" and said["applied"] == "not_applied", said
            assert cluster.get(0, "kept")[2] == b"value", "reads go on"
            os.remove(ballast)
            wait_until("writes resume", lambda: cluster.put(0, "other", b"y")[0] in (200, 201), 30)
            assert cluster.get(0, "kept")[2] == b"value"
    finally:
        subprocess.run(["umount", disk], check=False)
    return "507 NO_SPACE while full, reads went on, writes resumed"


TRIALS = [
    flipped_byte_in_the_log,
    truncated_segment,
    another_nodes_directory,
    another_version,
    port_in_use,
    over_the_limits,
    garbage_on_every_port,
    stranger_without_certificate,
    full_disk,
]
