"""A Ray cluster of so many nodes on this machine, in a process of its own. Each line on its input ends a node, by its
number, or the head; the end of the input ends all of them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

STORE = 80_000_000


@dataclass
class Cluster:
    process: "subprocess.Popen[str]"
    address: str

    def end(self, which: int | str) -> None:
        """A node that was added, from 0 on, or 'head'; its workers too, at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(which, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == "gone"


@contextmanager
def cluster(nodes: int, cpus: float = 1, head_cpus: float = 0) -> Iterator[Cluster]:
    command = [sys.executable, "-W", "ignore", __file__, str(nodes), str(cpus), str(head_cpus)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield Cluster(process, process.stdout.readline().strip())
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)
            with suppress(ProcessLookupError):  # a node that was ended leaves its agents for a while
                os.killpg(process.pid, signal.SIGKILL)


def main(nodes: int, cpus: float, head_cpus: float) -> None:
    from ray.cluster_utils import Cluster as Real

    head = {"num_cpus": head_cpus, "object_store_memory": STORE, "include_dashboard": False}
    real = Real(initialize_head=True, head_node_args=head)
    added = [real.add_node(num_cpus=cpus, object_store_memory=STORE) for _ in range(nodes)]
    print(real.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "head":
            real.head_node.kill_gcs_server()
        else:
            real.remove_node(added[int(line)], allow_graceful=False)
        print("gone", flush=True)
    real.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
