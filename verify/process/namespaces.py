"""Network namespaces, one per node, on one bridge: a network whose links can be cut without a sound.

A link is cut in one direction by giving the receiver a wrong hardware address in the sender's table of
neighbours: packets leave and nobody takes them. No connection is reset and no error is seen. Needs root and
the `ip` tool. Everything made here is removed by `remove`, nothing else is touched.
"""

import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
NOBODY = "02:de:ad:00:00:01"


class NotPermitted(Exception):
    """Namespaces cannot be made on this machine."""


def run_ip(*arguments):
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30)
    if ran.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {ran.stderr.strip()}")


def enter(name):
    """Moves the calling thread, and it alone, into a namespace."""
    with open(f"/run/netns/{name}", "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {name}")


class Network:
    """`nodes` namespaces; node `i` has the address 10.77.0.(i + 1)."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.switch = f"qrt{os.getpid()}s"
        self.made = []
        try:
            self._make()
        except (OSError, subprocess.TimeoutExpired) as error:
            self.remove()
            raise NotPermitted(str(error)) from error

    def _make(self):
        for name in [self.switch, *map(self.name, range(self.nodes))]:
            run_ip("netns", "add", name)
            self.made.append(name)
            run_ip("-n", name, "link", "set", "lo", "up")
        run_ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
        run_ip("-n", self.switch, "link", "set", "switch", "up")
        for node in range(self.nodes):
            name, port = self.name(node), f"port{node}"
            run_ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            run_ip("-n", self.switch, "link", "set", port, "master", "switch")
            run_ip("-n", self.switch, "link", "set", port, "up")
            run_ip("-n", name, "link", "set", "eth0", "address", self.hardware(node))
            run_ip("-n", name, "address", "add", f"{self.address(node)}/24", "dev", "eth0")
            run_ip("-n", name, "link", "set", "eth0", "up")
        self.heal()

    def name(self, node):
        return f"qrt{os.getpid()}n{node}"

    @staticmethod
    def address(node):
        return f"10.77.0.{node + 1}"

    @staticmethod
    def hardware(node):
        return f"02:00:00:00:00:{node + 1:02x}"

    def _route(self, sender, receiver, hardware):
        run_ip("-n", self.name(sender), "neigh", "replace", self.address(receiver), "lladdr", hardware,
               "dev", "eth0", "nud", "permanent")

    def cut(self, sender, receiver):
        """What `sender` sends to `receiver` is lost from now on."""
        self._route(sender, receiver, NOBODY)

    def heal(self):
        """Everything reaches everybody."""
        for sender in range(self.nodes):
            for receiver in range(self.nodes):
                if sender != receiver:
                    self._route(sender, receiver, self.hardware(receiver))

    def remove(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30, check=False)
        self.made = []
