"""Servers of the feature service for tests: in processes that can be killed, or in a thread of the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq

from gtzan_stream.described import describe_features
from gtzan_stream.features import LogMel
from gtzan_stream.service import server as server_module
from gtzan_stream.service.protocol import VERSION, decode, encode
from gtzan_stream.service.server import Server
from gtzan_stream.service.stream import Stream
from gtzan_stream.store.manifest import Manifest

ROOT = Path(__file__).parent.parent


def free_ports(n: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class ServerProcess:
    """A server in a process of its own.

    Parameters
    ----------
    shards : Path
    address : str
    addresses : sequence of str
        Of all servers of the service.
    options
        Further arguments of `Server`.
    """

    def __init__(self, shards: Path, address: str, addresses: Sequence[str] = (), **options: Any) -> None:
        self.address = address
        self._settings = {"shards": str(shards), "listen": address, "addresses": [*addresses], **options}
        self._process: subprocess.Popen[str] | None = None

    def start(self, protocol: int = VERSION) -> None:
        """Start the server, as one with another version of the protocol if it is given."""
        command = [sys.executable, "-m", "tests.service_programs", json.dumps(self._settings), str(protocol)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def wait_until_ready(self) -> None:
        assert self._process
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal, such as SIGSTOP."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the server, if it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def rss_mb(self) -> float:
        """Return the memory that the process uses, in megabytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def processes(shards: Path, n: int, **options: Any) -> Iterator[list[ServerProcess]]:
    """Run servers in processes of their own."""
    addresses = [f"tcp://127.0.0.1:{port}" for port in free_ports(n)]
    servers = [ServerProcess(shards, address, addresses, **options) for address in addresses]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_until_ready()
        yield servers
    finally:
        for server in servers:
            server.kill()


@contextmanager
def threaded(shards: Any, **options: Any) -> Iterator[Server]:
    """Run a server in a thread of this process."""
    server = Server(shards, **{"listen": "tcp://127.0.0.1:*", **options})
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


class Caller:
    """A plain ZeroMQ client, which can send anything."""

    def __init__(self, address: str, receives: int = 1000) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.set(zmq.RCVHWM, receives)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(address)

    def send(self, header: Any, request_id: bytes = b"1") -> None:
        self.socket.send_multipart([request_id, header if isinstance(header, bytes) else encode(header)])

    def receive(self, within_s: float = 10) -> tuple[bytes, dict[str, Any], list[bytes]]:
        assert self.socket.poll(int(within_s * 1000)), "no reply"
        request_id, header, *frames = self.socket.recv_multipart()
        return request_id, decode(header), frames

    def ask(self, header: Any) -> dict[str, Any]:
        """Send a request and return the header of its reply."""
        self.send(header)
        return self.receive()[1]

    def ask_all(self, header: Any) -> list[bytes]:
        """Send a request and return the further frames of its reply."""
        self.send(header)
        return self.receive()[2]

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def connect(address: str) -> socket.socket:
    """Connect to a server without ZeroMQ."""
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10)


# ZeroMQ's greeting without security, and the command READY of a DEALER: what follows is read as frames.
GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\1" + b"NULL".ljust(20, b"\0") + b"\0" * 32
READY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"


def connect_as_client(address: str) -> socket.socket:
    """Return a connection where the server expects frames."""
    connection = connect(address)
    connection.sendall(GREETING)
    received = b""
    while len(received) < len(GREETING):
        data = connection.recv(100)
        assert data, "the connection was closed"
        received += data
    connection.sendall(b"\x04" + bytes([len(READY)]) + READY)
    return connection


Frames = list[bytes]
Change = Callable[[dict[str, Any], Frames], Frames | None]
"""Changes a reply, given the request's header and the reply's frames, the first of which is the id. None: no reply."""


class Middle:
    """A server that passes on requests to another one, and changes the replies, in a thread."""

    def __init__(self, server: Server, change: Change = lambda _, frames: frames) -> None:
        self._server, self._change, self._ended = server, change, threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 0)
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.asked: list[Any] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Caller(self._server.address) as caller:
            while not self._ended.is_set():
                if not self._socket.poll(20):
                    continue
                client, request_id, request = self._socket.recv_multipart()
                header = decode(request)
                self.asked.append(header["ask"])
                caller.socket.send_multipart([request_id, request])
                frames = caller.socket.recv_multipart()
                if header["ask"] == "hello":  # it is a server of its own
                    hello = {**decode(frames[1]), "addresses": [self.address], "instance": self.address}
                    frames[1] = encode(hello)
                changed = self._change(header, frames)
                if changed is not None:
                    self._socket.send_multipart([client, *changed])
        self._context.destroy(linger=0)

    def __enter__(self) -> "Middle":
        self._thread.start()
        return self

    def end(self) -> None:
        """End the server; connections to it end too."""
        self._ended.set()

    def __exit__(self, *error: object) -> None:
        self.end()
        self._thread.join()


def stream_of(shards: Path, **settings: Any) -> Stream:
    """Return a small stream of some shards."""
    manifest = Manifest.open(shards)
    features = describe_features(LogMel(sample_rate=manifest.sample_rate))
    small = {"split": None, "part": None, "batch_size": 4, "on_error": "fail", "crops_per_clip": 4}
    return Stream(manifest_digest=manifest.digest, features=features, **{**small, **settings})


def get(stream: Stream, epoch: Any = 0, number: Any = 0, rank: Any = 0, world_size: Any = 1) -> dict[str, Any]:
    """Return the header of a request for a batch."""
    place = {"epoch": epoch, "number": number, "rank": rank, "world_size": world_size}
    return {"ask": "get", "stream": stream.digest, **place}


def main() -> None:
    """Serve until a signal ends the process."""
    server_module.VERSION = int(sys.argv[2])
    server = Server(**json.loads(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    print("ready", flush=True)
    server.run()


if __name__ == "__main__":
    main()
