"""Engines: what is imported when, and what a cluster has room for."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.core.errors import ConfigError
from autoopt.search.engines import Ray
from autoopt.search.ray_cluster import Node, how, is_lost, join, options, packed_on, said

ENGINE = Ray("head:6379", 2.0, 0.0, "SPREAD")


def node(name: str, address: str, cpus: float, gpus: float = 0.0) -> dict[str, Any]:
    return {"NodeID": name, "NodeManagerAddress": address, "Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}}


def fake(*nodes: dict[str, Any]) -> Any:
    """Ray as it is joined, with these nodes; this machine is 10.0.0.1."""
    util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
    return SimpleNamespace(init=lambda *words, **options: None, nodes=lambda: list(nodes), util=util)


def test_neither_ray_nor_torch_is_imported_before_it_is_needed() -> None:
    script = "import sys, autoopt.search.ray_crew; print({'ray', 'torch', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("engine", "fits", "line"),
    [
        (ENGINE, 5, "ray: 3 nodes, 13 CPUs, 4 GPUs, 5 of 8 workers fit, the others wait for room"),
        (Ray(None, 0.03, 0.0, "SPREAD"), 8, "ray: 3 nodes, 13 CPUs, 4 GPUs, 8 workers"),
        (Ray(None, 0.5, 0.5, "PACK"), 8, "ray: 3 nodes, 13 CPUs, 4 GPUs, 8 workers"),
        (Ray(None, 1.0, 2.0, "PACK"), 2, "ray: 3 nodes, 13 CPUs, 4 GPUs, 2 of 8 workers fit, the others wait for room"),
    ],
)
def test_workers_that_fit_are_counted_by_node(engine: Ray, fits: int, line: str) -> None:
    """Two CPUs left on each of two machines are no room for one that needs three."""
    cluster = fake(node("a", "10.0.0.1", 3), node("b", "10.0.0.2", 5), node("c", "10.0.0.3", 5, 4))
    found = join(cluster, engine, 8, here=False)
    assert found.fits == fits
    assert said(found, 8) == line


def test_machines_without_a_shared_place_for_models_are_refused() -> None:
    here, there = node("a", "10.0.0.1", 4), node("b", "10.0.0.2", 4)
    with pytest.raises(ConfigError, match=r"^engine.address=head:6379: 10.0.0.2 is another .*artifacts.uri=s3:"):
        join(fake(here, there), ENGINE, 1, here=True)
    assert join(fake(here, node("b", "10.0.0.2", 1)), ENGINE, 9, here=True).fits == 2, "no worker goes where it cannot"
    given = options(fake(here), ENGINE, None, here=True)
    assert given["resources"] == {"node:10.0.0.1": 0.0001}, "nor to a machine that joins later"


def test_packed_workers_fill_one_machine_after_the_other_and_the_last_ones_wait() -> None:
    """Those that were sent there and have not begun count, too."""
    cluster = fake(node("a", "10.0.0.1", 4), node("b", "10.0.0.2", 4))
    packed, taken = Ray("head:6379", 2.0, 0.0, "PACK"), list[Node]()
    while (found := packed_on(cluster, packed, taken)) is not None:
        taken.append(found)
    assert [each.id for each in taken] == ["a", "a", "b", "b"]
    assert packed_on(cluster, ENGINE, []) is None


def test_a_machine_that_was_lost_is_told_from_a_worker_that_died() -> None:
    cluster, kinds = fake(node("a", "10.0.0.1", 4)), SimpleNamespace(OutOfMemoryError=OSError, RayTaskError=KeyError)
    here, gone = (Node(name, f"10.0.0.{name}", 4.0, 0.0) for name in ("a", "b"))
    error = ValueError("The actor died unexpectedly")
    assert [is_lost(cluster, where, error) for where in (here, gone, None)] == [False, True, False]
    assert is_lost(cluster, None, ValueError("its node has died"))
    assert how(gone, error, kinds, lost=True) == "its node 10.0.0.b was lost"
    assert how(None, error, kinds, lost=True) == "its node was lost before it began"
    assert how(here, error, kinds, lost=False) == "its process on 10.0.0.a ended"


def test_ray_itself_repeats_nothing() -> None:
    """Else a job might be done twice, and its death not be told."""
    given = options(fake(node("a", "10.0.0.1", 4)), ENGINE, None, here=False)
    assert (given["max_restarts"], given["max_task_retries"]) == (0, 0)
    assert (given["num_cpus"], given["scheduling_strategy"]) == (2.0, "SPREAD")
