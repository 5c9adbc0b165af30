#!/usr/bin/env python3
"""Runs every command of a page against a cluster of its own, and compares what it prints with what the page says.

usage: docs_commands.py BINARY [PAGE...]     (default: those of PAGES)

A block marked `console` holds commands, each after `$ `, and what each prints on both outputs. `<n>` stands for a
number, `<id>` for a word, `…` for any text within a line; a line that is `…` alone for any lines. Commands of one
page run in order, in one folder, against one new cluster, as if it were that of `quorate dev` on its default ports.
"""

import os
import re
import subprocess

import trial
from cluster import Cluster

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEFAULT_PORT = 7400
COMMAND_SECONDS = 60
PAGES = ["reference/contracts.md", "reference/history-format.md", "concepts/typed-values.md", "operating/plan.md"]


def blocks(page):
    """Every (line number, command, expected lines) of a page."""
    found, inside = [], False
    with open(page, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("```"):
                inside = not inside and line == "```console"
            elif inside and line.startswith("$ "):
                found.append((number, line[2:], []))
            elif inside:
                assert found, f"{page}:{number}: output before a command"
                found[-1][2].append(line)
    return found


def pattern(lines):
    """What the expected lines match, as one regular expression."""
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
            continue
        escaped = re.escape(line.rstrip())
        for placeholder, means in [("<n>", r"\d+"), ("<id>", r"[^\s\"]+"), ("…", r"[^\n]*")]:
            escaped = escaped.replace(re.escape(placeholder), means)
        parts.append(escaped + r"[ \t]*\n")
    return re.compile("".join(parts))


def run(command, cluster, folder):
    """What a command prints, with the addresses of the page."""
    for node in range(cluster.nodes):
        command = command.replace(f"127.0.0.1:{DEFAULT_PORT + node}", f"127.0.0.1:{cluster.base + node}")
    endpoints = ",".join(f"http://127.0.0.1:{cluster.base + node}" for node in range(cluster.nodes))
    path = f"{os.path.dirname(cluster.binary)}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=folder, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "QUORATE_ENDPOINTS": endpoints, "PATH": path, "NO_COLOR": "1"},
    )
    said = ran.stdout
    for node in range(cluster.nodes):
        said = said.replace(f"127.0.0.1:{cluster.base + node}", f"127.0.0.1:{DEFAULT_PORT + node}")
    return said if said.endswith("\n") or not said else said + "\n"


def docs_commands(options, scratch, _dice):
    commands, wrong = 0, []
    for page in options.pages or [os.path.join(ROOT, "docs", page) for page in PAGES]:
        name = os.path.relpath(page, ROOT)
        folder = os.path.join(scratch, os.path.basename(page))
        os.makedirs(folder)
        found = blocks(page)
        assert found, f"{name} has no commands"
        with Cluster(options.binary, os.path.join(folder, "data")).start() as cluster:
            for number, command, expected in found:
                commands += 1
                said = run(command, cluster, folder)
                if not pattern(expected).fullmatch(said):
                    wanted = "".join(f"    | {line}\n" for line in expected)
                    told = "".join(f"    | {line}\n" for line in said.splitlines())
                    wrong.append(f"{name}:{number}: $ {command}\n  the page says\n{wanted}  it prints\n{told}")
    assert not wrong, f"{len(wrong)} of {commands} commands are not as the page says\n" + "\n".join(wrong)
    return f"{commands} commands print what the page says"


def add_arguments(parser):
    parser.add_argument("pages", nargs="*")


if __name__ == "__main__":
    trial.main("docs_commands", __doc__, docs_commands, add_arguments)
