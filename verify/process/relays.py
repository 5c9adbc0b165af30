"""Links between nodes that a trial can slow down or silence, without root: each is a relay that forwards bytes.

A silent link takes what is sent and forwards nothing; connections stay open, as over a cable that was cut. What it
swallowed is gone, so on `restore` its connections are closed, and new ones forward again.
"""

import asyncio
import threading

CHUNK_BYTES = 64 * 1024
# Chunks on their way in one direction of one connection; the sender is held back beyond that.
CHUNKS_MAX = 1024


class Relay:
    """One link: what connects to `port` is connected to `target`."""

    def __init__(self, relays, target):
        self.relays, self.target = relays, target
        self.delay_s = 0.0
        self.silent = False
        self.connections = set()
        self.port = None

    async def listen(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.connections.add(task)
        far = None
        try:
            while self.silent:
                await asyncio.sleep(0.01)
            far_reader, far = await asyncio.open_connection(*self.target)
            pumps = [asyncio.ensure_future(self._pump(reader, far)), asyncio.ensure_future(self._pump(far_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.close()

    async def _pump(self, reader, writer):
        """Forwards until either side ends, each chunk when it is due."""
        loop = asyncio.get_running_loop()
        chunks = asyncio.Queue(CHUNKS_MAX)

        async def send():
            while True:
                due, data = await chunks.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not self.silent:
                    writer.write(data)
                    await writer.drain()

        sender = asyncio.ensure_future(send())
        try:
            while data := await reader.read(CHUNK_BYTES):
                await chunks.put((loop.time() + self.delay_s, data))
        except OSError:
            pass
        finally:
            sender.cancel()

    def restore(self):
        """Forwards again, over new connections."""
        def close():
            self.silent = False
            for task in list(self.connections):
                task.cancel()

        self.relays.loop.call_soon_threadsafe(close)


class Relays:
    """A relay for every ordered pair of nodes, in one thread; its `peer` is what `Servers` takes."""

    def __init__(self):
        self.links = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def peer(self, servers_peer_address):
        """How nodes are told to reach each other; `servers_peer_address(node)` is where a node listens."""
        def address(sender, receiver):
            host, port = servers_peer_address(receiver).rsplit(":", 1)
            link = Relay(self, (host, int(port)))
            asyncio.run_coroutine_threadsafe(link.listen(), self.loop).result(10)
            self.links[sender, receiver] = link
            return f"127.0.0.1:{link.port}"

        return address

    def of(self, node):
        """Every link from or to a node: connections go both ways, whoever made them."""
        return [link for pair, link in self.links.items() if node in pair]
