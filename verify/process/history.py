"""What clients saw, recorded as the judge in verify/check reads it, and the judge itself."""

import json
import os
import subprocess
import threading
import time

from servers import key_path

# What the judge's exit codes mean.
VERDICTS = {0: "valid", 1: "invalid", 2: "unusable", 3: "undecided"}


class History:
    """Events in the order of recording: an invocation before anything is sent, a completion after the answer."""

    def __init__(self, path):
        self.path, self.file = path, open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.counts = {"ok": 0, "fail": 0, "unknown": 0}

    def note(self, process, kind, op):
        with self.lock:
            time_us = int((time.monotonic() - self.began) * 1e6)
            self.file.write(json.dumps({"process": process, "type": kind, "time_us": time_us, "op": op}) + "\n")
            if kind != "invoke":
                self.counts[kind] += 1

    def said(self):
        return ", ".join(f"{count} {kind}" for kind, count in self.counts.items())

    def judge(self, options):
        """Runs the judge; anything but `valid` is an error."""
        self.file.close()
        judge = os.path.join(os.path.dirname(options.binary), "check")
        if not os.path.exists(judge):
            raise AssertionError(f"{judge} is not there: cargo build --release -p check")
        ran = subprocess.run([judge, self.path], capture_output=True, text=True, timeout=300)
        verdict = VERDICTS.get(ran.returncode, "crashed")
        assert verdict == "valid", f"{verdict}: {ran.stdout}{ran.stderr} ({self.path})"
        return ran.stdout.strip()


class Register:
    """One client of keyed registers, recording all it does. For one thread."""

    def __init__(self, history, process, client, timeout_ms=5000):
        self.history, self.process, self.client, self.timeout_ms = history, process, client, timeout_ms
        self.written = 0

    def _do(self, op, method, body, judge_ok):
        self.history.note(self.process, "invoke", op)
        headers = {"Quorate-Timeout-Ms": str(self.timeout_ms)}
        try:
            status, headers, said = self.client.request(
                method, key_path(op["key"]), body, headers, timeout=self.timeout_ms / 1000 + 3)
        except OSError as error:
            self.history.note(self.process, "unknown", op)
            return "unknown", str(error)
        told = judge_ok(status, headers, said)
        if told is not None:
            self.history.note(self.process, "ok", {**op, **told})
            return "ok", told
        problem = json.loads(said)
        kind = "fail" if method == "GET" or problem["applied"] == "not_applied" else "unknown"
        self.history.note(self.process, kind, op)
        return kind, problem["code"]

    def write(self, key):
        """Writes a value that nobody else writes: ("ok", ...), ("fail", code) or ("unknown", code)."""
        self.written += 1
        value = f"{self.process}-{self.written}"

        def told(status, _, said):
            return {"revision": json.loads(said)["revision"]} if status in (200, 201) else None

        return self._do({"f": "write", "key": key, "value": value}, "PUT", value.encode(), told)

    def read(self, key):
        def told(status, headers, said):
            if status == 404 and headers.get("quorate-error") == "KEY_NOT_FOUND":
                return {"value": None}
            if status != 200:
                return None
            return {"value": said.decode(), "revision": int(headers["quorate-mod-revision"])}

        return self._do({"f": "read", "key": key}, "GET", None, told)
