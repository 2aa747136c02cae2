"""Servers on a Ray cluster: which nodes get servers, and where they listen. Only this module imports Ray.

Ray places the servers, restarts those that die, and ends them when this process ends. It does not carry batches:
trainers talk to the servers directly, and have nothing to do with Ray.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, ActorUnschedulableError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gtzan_stream.errors import BadSample, UserError, format_error
from gtzan_stream.service.server_actor import ServerActor
from gtzan_stream.threads import cores
from gtzan_stream.words import count

_ROUND_S = 1.0
_FREE_S = 5.0  # CPUs become free a moment after their job has ended
_MOST_S = 20.0
_FIRST_S = 120.0
_OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes; nothing is put there
_LOOPBACK = "127.0.0.1"
Report = dict[str, Any]
Node = dict[str, Any]
"""A node as `ray.nodes` describes it."""


@dataclass(eq=False)
class _Place:
    """A place for a server on a node.

    Attributes
    ----------
    node : str
        Ray's name of the node.
    listen : str
        Where its server listens, or shall listen.
    actor : ActorHandle
    reply : ObjectRef, optional
        Of the call that the actor has not answered yet.
    report : dict, optional
        Its last answer.
    problem : str
        Why it does not serve, which the user has been told; empty if it serves.
    """

    node: str
    listen: str
    actor: Any
    reply: Any = None
    report: Report | None = None
    problem: str = ""

    def __str__(self) -> str:
        return self.listen.removeprefix("tcp://")


class Placement:
    """The servers of a service on the nodes of the Ray cluster that this process has joined.

    Parameters
    ----------
    servers : int, optional
        Largest number of servers on a node; by default one for each CPU, or GPU if batches are made there.
    port : int
        Port of the first server of a node; the others use the next ports.
    keys : dict of str to str
        See `ServerActor`. Without keys, only the nodes on this machine get servers, which only this machine can reach.
    device : str
    say : callable
        Called with {"warning": text} and, whenever the servers' addresses have changed, {"serving": list of reports}.
    settings
        Others of `ServerActor`.

    Raises
    ------
    UserError
        If the cluster has no room for the servers, or has nodes on other machines and there are no keys.
    """

    def __init__(
        self,
        *,
        servers: int | None,
        port: int,
        keys: dict[str, str],
        device: str,
        say: Callable[[Report], None],
        **settings: Any,
    ) -> None:
        self._n, self._port, self._keys, self._say = servers, port, keys, say
        self._resource = "GPU" if device.startswith("cuda") else "CPU"
        needs: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1} if self._resource == "GPU" else {"num_cpus": 1}
        self._class = ray.remote(max_restarts=-1, max_task_retries=0, **needs)(ServerActor)
        self._settings = {"keys": keys, "device": device, **settings}
        self._places: list[_Place] = []
        self._has_started = False
        self._left_out: set[str] = set()
        own = ray.get_runtime_context().get_node_id()
        self._own_hosts = {_LOOPBACK, *(_host(node) for name, node in _nodes().items() if name == own)}
        self._check_room()

    def _check_room(self) -> None:
        """Raise UserError if no server can be placed, as Ray would wait without end."""
        nodes, kind = list(_nodes().values()), self._resource
        largest = max((self._room(node) for node in nodes), default=0)
        if not largest:
            remedy = "leave out --device cuda" if kind == "GPU" else "add a node with CPUs"
            raise UserError(f"no node of the Ray cluster has a {kind}: {remedy}")
        if self._n is not None and self._n > largest:
            raise UserError(
                f"--servers {self._n} needs {count(self._n, kind)} on a node, and the largest node of the Ray cluster "
                f"has {largest}: choose a smaller number"
            )
        others = {_host(node) for node in nodes if self._room(node) and _host(node) not in self._own_hosts}
        if others and not self._keys:
            raise UserError(
                f"the Ray cluster has nodes on other machines ({', '.join(sorted(others))}), so its servers need keys: "
                "make them with `gtzan-stream serve --make-keys DIR`, and give --keys DIR to servers and trainers"
            )
        latest = time.monotonic() + _FREE_S
        while (free := ray.available_resources().get(kind, 0)) < 1:
            if time.monotonic() > latest:
                total = sum(map(self._room, nodes))
                raise UserError(
                    f"the Ray cluster has {count(total, kind)}, of which {free:g} are free, and a server needs 1: end "
                    "other jobs, or add a node"
                )
            time.sleep(_ROUND_S / 4)

    def run(self) -> None:
        """Place servers and look after them, without end.

        Raises
        ------
        UserError
            If a server cannot start, unless others serve already.
        """
        begun, told, announced = time.monotonic(), list[str](), list[str]()
        while True:
            latest = time.monotonic() + _ROUND_S
            self._place()
            self._call(told)
            addresses = sorted(place.report["address"] for place in self._places if place.report)
            if addresses != told:  # tell the servers first
                told = addresses
                continue
            self._has_started = self._has_started or self._have_started(time.monotonic() - begun)
            if self._has_started and addresses != announced:
                announced = addresses
                if addresses:
                    self._say({"serving": [place.report for place in self._places if place.report]})
            time.sleep(max(latest - time.monotonic(), 0))

    def _have_started(self, waited_s: float) -> bool:
        """Return whether all servers serve, or some do and the others take long."""
        missing = sum(not place.report for place in self._places)
        if missing == len(self._places):
            if waited_s > _FIRST_S:
                raise UserError(f"no server has started in {_FIRST_S:g} s: look into Ray's logs, in /tmp/ray")
            return False
        if missing and waited_s > _MOST_S:
            self._say({"warning": f"{count(missing, 'server')} more will start when a {self._resource} is free"})
            return True
        return not missing

    def _place(self) -> None:
        """Make places for servers on new nodes, and forget those on nodes that are gone."""
        nodes = _nodes()
        for place in [place for place in self._places if place.node not in nodes]:
            self._places.remove(place)
            ray.kill(place.actor)  # or Ray waits for the node
            self._say({"warning": f"the server at {place} is gone with its node"})
        for name, node in nodes.items():
            host = _host(node)
            if self._keys or host in self._own_hosts:
                for _ in range(self._room(node, self._n) - sum(place.node == name for place in self._places)):
                    self._add(name, host if self._keys else _LOOPBACK)
            elif self._room(node) and host not in self._left_out:
                self._left_out.add(host)
                self._say({"warning": f"node {host} is on another machine and gets no servers without --keys"})

    def _add(self, node: str, host: str) -> None:
        """Make a place for a server on a node."""
        taken = {place.listen for place in self._places}
        listen = next(each for port in range(self._port, 2**16) if (each := f"tcp://{host}:{port}") not in taken)
        place = _Place(node, listen, None)
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        place.actor = self._class.options(name=f"gtzan-stream {place}", scheduling_strategy=where).remote(
            **self._settings
        )
        self._places.append(place)

    def _call(self, addresses: list[str]) -> None:
        """Tell all servers the addresses, and wait up to a second for their answers."""
        for place in self._places:
            if place.reply is None:
                place.reply = place.actor.serve.remote(place.listen, addresses)
        pending = {place.reply: place for place in self._places}
        for reply in ray.wait(list(pending), num_returns=len(pending), timeout=_ROUND_S)[0] if pending else ():
            place, pending[reply].reply = pending[reply], None
            try:
                report = ray.get(reply)
                if place.report and report["pid"] != place.report["pid"]:
                    self._say({"warning": f"the server at {place} has ended, and Ray has started it again"})
                place.report, place.listen = report, report["address"]
                self._note(place, "")
            except (ActorUnavailableError, ActorUnschedulableError):
                continue  # Ray starts it again, or its node is gone
            except RayActorError as error:  # for good, for instance by `ray.kill`; the next round makes another place
                self._places.remove(place)
                self._failed(place, _last_line(error))
            except RayTaskError as error:
                cause = error.cause
                known = isinstance(cause, UserError | BadSample | OSError)
                self._failed(place, format_error(cause) if known else _last_line(error))

    def _failed(self, place: _Place, reason: str) -> None:
        """Tell the user why a server has ended or cannot start. Raises UserError if none has ever served."""
        if not self._has_started:
            host = next((_host(node) for name, node in _nodes().items() if name == place.node), "that is gone")
            raise UserError(f"no server can start on node {host}: {reason}")
        self._note(place, f"does not serve: {reason}")

    def _note(self, place: _Place, problem: str) -> None:
        """Tell the user once that a server does not serve, and why, or that it does again."""
        if problem != place.problem:
            place.problem = problem
            self._say({"warning": f"the server at {place} {problem or 'serves now'}"})

    def _room(self, node: Node, most: int | None = None) -> int:
        """Return the number of servers that a node has room for, up to `most`."""
        room = int(node["Resources"].get(self._resource, 0))
        return room if most is None else min(room, most)


def join(address: str | None) -> None:
    """Join the Ray cluster at an address, or start one on this machine.

    Raises
    ------
    UserError
        If the cluster cannot be joined or started.
    """
    own: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except (RayError, OSError, RuntimeError, ValueError) as error:
        what = f"the Ray cluster at {address} cannot be joined" if address else "Ray does not start"
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}") from None


def _nodes() -> dict[str, Node]:
    """Return the nodes that are alive, by Ray's name."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _host(node: Node) -> str:
    return str(node["NodeManagerAddress"])


def _last_line(error: BaseException) -> str:
    """Return the last line of an error of Ray, whose text is a traceback."""
    return str(error).strip().splitlines()[-1].strip()
