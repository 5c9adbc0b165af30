#!/usr/bin/env python3
"""No release has a planted bug in it: of the crates that have the feature, none builds with it without debug
assertions, and the binary knows none of their names.

    python3 verify/process/no_planted.py [target/release/quorate]
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = "feature `planted` contains deliberate bugs: it needs debug assertions"


def crates():
    """Names of the workspace's crates that have the feature."""
    for manifest in sorted(ROOT.glob("*/*/Cargo.toml")):
        found = tomllib.loads(manifest.read_text())
        if "planted" in found.get("features", {}):
            yield found["package"]["name"], manifest.parent


def refuses(crate):
    """Whether a release build of the crate with the feature ends with the refusal, and makes nothing."""
    command = ["cargo", "build", "--release", "--locked", "-p", crate, "--features", f"{crate}/planted"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.returncode != 0 and REFUSAL in ran.stderr


def names():
    """The bugs' names, as in the code."""
    text = (ROOT / "core/raft/src/planted.rs").read_text()
    return re.findall(r"^    (\w+),$", text.split("catalogue! {")[1].split("\n}")[0], re.MULTILINE)


def main():
    found = list(crates())
    assert {"raft-group", "node", "storage", "sim"} <= {name for name, _ in found}, found
    for name, folder in found:
        source = (folder / "src/lib.rs").read_text()
        guard = '#[cfg(all(feature = "planted", not(debug_assertions)))]\ncompile_error!('
        assert guard in source, f"{name} has the feature and does not refuse a release build"
        assert refuses(name), f"{name} builds with planted bugs in a release"
        print(f"{name}: a release build with planted bugs is refused")
    bugs = names()
    assert len(bugs) >= 20, bugs
    for path in sys.argv[1:]:
        binary = Path(path).read_bytes()
        # That the search finds what is there.
        assert b"quorate" in binary
        # The modules too, as symbols have them.
        inside = [word for word in [*bugs, "4node7planted", "10raft_group7planted"] if word.encode() in binary]
        assert not inside, f"{path} has {inside} in it"
        print(f"{path}: none of {len(bugs)} planted bugs is in it")


if __name__ == "__main__":
    main()
