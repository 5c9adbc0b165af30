#!/usr/bin/env python3
"""Holds the HTTP API against the OpenAPI document that it serves, with schemathesis.

usage: api_contract.py BINARY SCHEMATHESIS [--max-examples N] [--seed N]
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cluster import Cluster  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("schemathesis")
    parser.add_argument("--max-examples", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-api-") as scratch:
        with Cluster(os.path.abspath(options.binary), os.path.join(scratch, "data"), nodes=1).start() as cluster:
            here = os.path.dirname(os.path.abspath(__file__))
            rules = os.path.join(here, "schemathesis.toml")
            command = [os.path.abspath(options.schemathesis), "--config-file", rules, "run"]
            command += [f"http://127.0.0.1:{cluster.base}/v1/openapi.json", "--checks", "all"]
            command += ["--max-examples", str(options.max_examples), "--seed", str(options.seed)]
            command += ["--request-timeout", "10", "--no-color"]
            # A lock that one lease has left is there for the others.
            command += ["--exclude-checks", "use_after_free"]
            # Keys with slashes, which locks have, are not tried as paths: of those there are many.
            command += ["--suppress-health-check", "filter_too_much"]
            hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1"}
            ran = subprocess.run(command, cwd=scratch, env=os.environ | hooks, check=False)
            alive = cluster.http(0, "GET", "/healthz")[0] == 200
            assert alive, "the node did not survive"
    print(f"{int(ran.returncode == 0)} passed, {int(ran.returncode != 0)} failed")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
