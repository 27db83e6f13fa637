"""The process that speaks with Ray for the search: a driver ends with its cluster, without a word, and prints at will.

Between the search and the actors it passes on bytes that it does not read. It ends with the search, and its actors with
it, since they belong to its job.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autoopt.core.errors import ConfigError, one_line
from autoopt.search import ray_cluster as cluster
from autoopt.search.engines import Ray
from autoopt.search.ray_actor import Actor, Setting
from autoopt.search.worker import speak_into

POLL_S = 0.02  # an order of the search waits so long at most
NEWS_S = 10.0  # that an actor keeps a question for news
AGAIN_S = 0.5  # after a call that was lost: the network, or Ray will soon say that the actor is
TIDY_S = 5.0  # for a farewell to the cluster
KINDS = ("where", "news", "tell")


@dataclass(frozen=True)
class Hello:
    """An actor has begun."""

    place: int
    address: str
    node: str
    pid: int


@dataclass(frozen=True)
class News:
    place: int
    messages: list[bytes]


@dataclass(frozen=True)
class Gone:
    place: int
    how: str
    text: str
    with_node: bool
    """Its node was lost."""


@dataclass(frozen=True)
class Refused:
    """The cluster cannot be used."""

    reason: str


@dataclass
class Hand:
    """What is known of one actor."""

    actor: Any
    bound_for: cluster.Node | None = None
    """Where it was sent, of those that are packed."""
    node: cluster.Node | None = None
    """Where it is, once it has said so."""
    heard: int = 0
    taken: int = 0
    orders: deque[bytes] = field(default_factory=deque)
    """Those that it has not confirmed; the first has the number `taken`."""
    calls: dict[str, Any] = field(default_factory=dict)
    """What it was asked and has not answered, by kind."""
    again: dict[str, float] = field(default_factory=dict)
    """Kinds of calls that were lost, and when to make them anew."""


def drive(line: Connection, words: Path, engine: Ray, count: int, setting: Setting, here: bool) -> None:
    """The driver's life. `here`: workers of other machines could not bring their models."""
    _prepare(words)
    if engine.address not in (None, "auto") and cluster.has_token() and cluster.demands_token(str(engine.address)):
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray shows it by itself only to clusters that it has found by itself
    import ray

    try:
        found = cluster.join(ray, engine, count, here)
    except ConfigError as error:
        return line.send(Refused(str(error)))
    _heed_nobody()  # Ray has a mind of its own
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the search is gone
        line.send(found)
        _Driver(ray, line, engine, setting, here, count).run()
    ray.shutdown()


class _Driver:
    def __init__(self, ray: Any, line: Connection, engine: Ray, setting: Setting, here: bool, count: int) -> None:
        self._ray, self._line, self._engine, self._setting, self._here = ray, line, engine, setting, here
        self._hands: dict[int, Hand] = {}
        for place in range(count):
            self._make(place)

    def run(self) -> None:
        while True:
            while self._line.poll():
                order = self._line.recv()
                if order is None:
                    return
                self._obey(*order)
            self._call()
            self._wait()

    def _obey(self, kind: str, place: int, value: Any = None) -> None:
        hand = self._hands[place]
        if kind == "kill":
            self._ray.kill(hand.actor, no_restart=True)
        elif kind == "anew":
            self._bury(hand)
            self._make(place)
        else:
            hand.orders.append(value)

    def _make(self, place: int) -> None:
        others = [hand.node or hand.bound_for for other, hand in self._hands.items() if other != place]
        node = cluster.packed_on(self._ray, self._engine, [other for other in others if other])
        options = cluster.options(self._ray, self._engine, node, self._here)
        words = self._setting.words.with_name(f"worker-{place}.txt")
        setting = replace(self._setting, words=words)
        self._hands[place] = Hand(self._ray.remote(Actor).options(**options).remote(setting), node)

    def _bury(self, hand: Hand) -> None:
        with suppress(Exception):  # it is dead, or out of reach: then Ray ends it where it is
            self._ray.kill(hand.actor, no_restart=True)

    def _call(self) -> None:
        """Ask each actor what it is to be asked now."""
        now = time.monotonic()
        for hand in self._hands.values():
            actor, calls = hand.actor, hand.calls
            due = {kind for kind in KINDS if now >= hand.again.get(kind, 0.0)} - set(calls)
            if hand.node is None:
                if "where" in due:
                    calls["where"] = actor.where.remote()
                continue
            if "news" in due:
                calls["news"] = actor.news.remote(hand.heard, NEWS_S)
            if "tell" in due and hand.orders:
                calls["tell"] = actor.tell.remote(hand.taken, list(hand.orders))

    def _wait(self) -> None:
        refs = {ref: (place, kind) for place, hand in self._hands.items() for kind, ref in hand.calls.items()}
        if not refs:
            return time.sleep(POLL_S)
        ready, _ = self._ray.wait(list(refs), num_returns=1, timeout=POLL_S)
        if ready:  # and all the others that are
            ready, _ = self._ray.wait(list(refs), num_returns=len(refs), timeout=0)
        for ref in ready:
            place, kind = refs[ref]
            if self._hands[place].calls.get(kind) == ref:  # else its actor was found dead a moment ago
                self._answered(place, kind, ref)
        return None

    def _answered(self, place: int, kind: str, ref: Any) -> None:
        hand = self._hands[place]
        try:
            value = self._ray.get(ref)
        except self._ray.exceptions.ActorUnavailableError:
            hand.again[kind] = time.monotonic() + AGAIN_S
            del hand.calls[kind]
            return
        except self._ray.exceptions.RayError as error:
            hand.calls.clear()
            hand.again = dict.fromkeys(KINDS, float("inf"))
            lost = cluster.is_lost(self._ray, hand.node, error)
            how = cluster.how(hand.node, error, self._ray.exceptions, lost=lost)
            self._line.send(Gone(place, how, one_line(error, 600), lost))
            return
        del hand.calls[kind]
        if kind == "where":
            pid, node = value
            hand.node = cluster.node_of(self._ray, node)
            self._line.send(Hello(place, hand.node.address, hand.node.id, pid))
        elif kind == "news":
            hand.heard += len(value)
            if value:
                self._line.send(News(place, value))
        else:
            while hand.taken < value:
                hand.orders.popleft()
                hand.taken += 1


def _prepare(words: Path) -> None:
    os.setsid()  # what a terminal tells all of its processes is for the search, not for Ray's
    _heed_nobody()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    speak_into(words)
    logging.basicConfig(stream=sys.stderr)
    threading.Thread(target=_end_with_the_search, daemon=True).start()


def _heed_nobody() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the search decides
        signal.signal(number, lambda *_: None)


def _end_with_the_search() -> None:
    search = parent_process()
    if search is not None:
        search.join()
        time.sleep(TIDY_S)  # the line is closed: the main thread says farewell meanwhile
        os._exit(1)
