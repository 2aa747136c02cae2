"""A Ray cluster on this machine, for tests: each node has one CPU, or none if its host is HOST=0.

python tests/ray_cluster_program.py PORT HOST...

Starts a node for each host, the head at PORT of the first. Then it prints "done", and again for each line of stdin that
it has obeyed: `add HOST` adds a node, `kill N` kills node N (0 is the head), `kill gcs` kills the process of the head
that knows the cluster, `work` uses the CPU of a node. All ends when stdin is closed.
"""

import os
import signal
import sys

import ray
from ray._private.node import Node
from ray.cluster_utils import Cluster

SETTINGS = {"object_store_memory": 80 << 20, "include_dashboard": False}


@ray.remote(num_cpus=1)
class Worker:
    def works(self) -> bool:
        return True


def add_node(cluster: Cluster, host: str, **settings: int) -> Node:
    host, _, n_cpus = host.partition("=")
    return cluster.add_node(node_ip_address=host, num_cpus=int(n_cpus or 1), **SETTINGS, **settings)


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    port, *hosts = sys.argv[1:]
    cluster = Cluster()
    nodes = [add_node(cluster, host, gcs_server_port=int(port)) for host in hosts]
    print("done", file=out, flush=True)
    workers = []
    for line in sys.stdin:
        match line.split():
            case ["add", host]:
                nodes.append(add_node(cluster, host))
            case ["kill", "gcs"]:
                (process,) = nodes[0].all_processes["gcs_server"]
                os.kill(process.process.pid, signal.SIGKILL)
            case ["kill", number]:
                nodes[int(number)].kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
            case ["work"]:
                if not workers:
                    ray.init(cluster.address, log_to_driver=False)
                workers.append(Worker.remote())
                ray.get(workers[-1].works.remote())
        print("done", file=out, flush=True)
    for node in reversed(nodes):
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=False)
    os._exit(0)  # Ray would look for the head


if __name__ == "__main__":
    main()
