"""A Ray cluster: joined or started, what it has room for, where an actor goes, and why one is gone."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.core.errors import ConfigError, one_line
from autoopt.search.engines import Ray

LEAST = 1e-4  # that Ray can take of a resource
STORE_BYTES = 80_000_000  # of a Ray of our own: jobs and events are small, and /dev/shm may be

TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
DEMANDED = 3
ASK = f"""
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1])
except AuthenticationError:
    sys.exit({DEMANDED})
"""
ASK_S = 30.0


@dataclass(frozen=True)
class Node:
    id: str
    address: str
    cpus: float
    gpus: float

    def room(self, engine: Ray) -> int:
        """So many workers fit on it where nothing else runs there."""
        by_cpus = _times(self.cpus, engine.cpus)
        return min(by_cpus, _times(self.gpus, engine.gpus)) if engine.gpus else by_cpus


@dataclass(frozen=True)
class Found:
    nodes: tuple[Node, ...]
    fits: int
    """Workers, of those that were asked for."""


def has_token() -> bool:
    """Whether Ray would find a token, and nobody has said whether it is shown."""
    found = any(name in os.environ for name in TOKENS) or (Path.home() / ".ray" / "auth_token").is_file()
    return found and "RAY_AUTH_MODE" not in os.environ


def demands_token(address: str) -> bool:
    """Whether the cluster answers nobody without one. A driver that shows one demands it, too, and so cannot work with
    a cluster that has none; and no process can change its mind. Hence this is asked by another one.
    """
    if address.startswith("ray://"):
        return True  # Ray Client: shown, and not demanded in return
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    try:
        asked = subprocess.run([sys.executable, "-c", ASK, address], env=environment, timeout=ASK_S)
    except subprocess.TimeoutExpired:
        return False  # it does not answer at all: joining it will say so
    return asked.returncode == DEMANDED


def join(ray: Any, engine: Ray, count: int, here: bool) -> Found:
    """The cluster at the address, or a new one. `here`: all workers must be on this machine.

    Raises ConfigError where it cannot be reached, has no room for a worker, or only elsewhere.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if engine.address is None:
            ray.init("local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        else:
            ray.init(engine.address, **quiet)
    except Exception as error:
        raise ConfigError(no_cluster(engine, one_line(error, 200))) from error
    nodes = _nodes(ray)
    able = [node for node in nodes if node.room(engine)]
    if not able:
        asked = f"engine.cpus={engine.cpus:g} engine.gpus={engine.gpus:g}"
        raise ConfigError(f"{asked}: no machine of the Ray cluster has that for a worker: {_told(nodes)}")
    own = ray.util.get_node_ip_address()
    away = [node.address for node in able if node.address != own]
    if away and here:
        raise ConfigError(
            f"engine.address={engine.address}: {away[0]} is another machine than this one, {own}, and models must come "
            "from there: type artifacts.uri=s3://BUCKET/FOLDER, or a folder that all machines share"
        )
    return Found(tuple(nodes), min(count, sum(node.room(engine) for node in able)))


def no_cluster(engine: Ray, why: str) -> str:
    """The one line for people."""
    if engine.address is None:
        return f"engine=ray: no Ray can be started here ({why}): type engine.address=HOST:PORT, or engine=local"
    return f"engine.address={engine.address}: no Ray cluster can be used there ({why}): does `ray status` see one?"


def packed_on(ray: Any, engine: Ray, taken: Iterable[Node]) -> Node | None:
    """Where engine.placement=PACK sends a new actor; None where Ray decides. `taken`: the nodes of the other actors,
    one entry each.
    """
    return _fullest(_nodes(ray), engine, taken) if engine.placement == "PACK" else None


def options(ray: Any, engine: Ray, node: Node | None, here: bool) -> dict[str, Any]:
    """Of a new actor, on that node. Ray itself repeats nothing: the study does."""
    pinned = {f"node:{ray.util.get_node_ip_address()}": LEAST} if here else {}  # other machines may join later
    strategy: Any = "SPREAD"
    if node is not None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node.id, soft=True)  # where it is lost, elsewhere
    return {
        "num_cpus": engine.cpus,
        "num_gpus": engine.gpus,
        "resources": pinned,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 4,  # orders, news, and one of each whose answer was lost on the way
        "scheduling_strategy": strategy,
    }


def node_of(ray: Any, node_id: str) -> Node:
    return next(node for node in _nodes(ray, also_dead=True) if node.id == node_id)


def is_lost(ray: Any, node: Node | None, error: BaseException) -> bool:
    """Whether an actor's node is, and not the actor alone; `node` is None where it had not begun."""
    alive = {alive.id for alive in _nodes(ray)}
    return "node has died" in str(error) or (node is not None and node.id not in alive)


def how(node: Node | None, error: BaseException, kinds: Any, *, lost: bool) -> str:
    """Why an actor is gone, in words. `kinds`: ray.exceptions."""
    text = str(error)
    if isinstance(error, kinds.OutOfMemoryError):
        return "out of memory: Ray killed it"
    if lost:
        return f"its node {node.address} was lost" if node else "its node was lost before it began"
    if "creation task" in text or isinstance(error, kinds.RayTaskError):
        last = one_line(ValueError(text.strip().splitlines()[-1]), 300)
        return f"{last}; all machines need the same autoopt and its extras" if "ModuleNotFound" in last else last
    if "ray.kill" in text:
        return "it was killed"
    return f"its process on {node.address} ended" if node is not None else "it ended before it began"


def said(found: Found, asked: int) -> str:
    """The one line for people."""
    cpus, gpus = (sum(getattr(node, kind) for node in found.nodes) for kind in ("cpus", "gpus"))
    machines = f"{len(found.nodes)} node{'s' * (len(found.nodes) != 1)}, {cpus:g} CPUs"
    machines += f", {gpus:g} GPUs" if gpus else ""
    if found.fits < asked:
        return f"ray: {machines}, {found.fits} of {asked} workers fit, the others wait for room"
    return f"ray: {machines}, {asked} worker{'s' * (asked != 1)}"


def _nodes(ray: Any, *, also_dead: bool = False) -> list[Node]:
    rows: Sequence[Mapping[str, Any]] = ray.nodes()
    return [
        Node(
            row["NodeID"],
            row["NodeManagerAddress"],
            row["Resources"].get("CPU", 0.0),
            row["Resources"].get("GPU", 0.0),
        )
        for row in rows
        if row["Alive"] or also_dead
    ]


def _fullest(nodes: Sequence[Node], engine: Ray, taken: Iterable[Node]) -> Node | None:
    """Of those with room for one more, the one with the most workers."""
    workers = Counter(node.id for node in taken)
    able = [node for node in nodes if node.room(engine) > workers[node.id]]
    return max(able, key=lambda node: workers[node.id], default=None)


def _times(whole: float, share: float) -> int:
    return int(whole / share + 1e-6)


def _told(nodes: Sequence[Node]) -> str:
    return ", ".join(f"{node.address} has {node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes[:5]) or "none"
