"""Many containers in etcd, and how they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from tests.integration.etcd_client import (
    UNCERTAIN,
    EtcdClient,
    EtcdError,
    deleting,
    putting,
)
from tests.integration.etcd_writer import document, in_thread

#: How many containers one transaction changes, of the 128 that etcd permits.
TOGETHER = 20

#: How many are put at a time in the beginning.
FIRST = 100


class Fleet:
    """Containers, each with a counter of its changes (`etcd_writer.COUNTER`).

    :param client: of etcd, for the only thread that changes them.
    :param prefix: of their keys.
    :param names: their names.
    :param watched: those of them whose changes are checked one by one: they take part
        in each transaction in turn, and stay.
    :param config: further config keys, the same ones of each container.
    :ivar numbers: the number of the latest change of each container that exists.
    :ivar changes: how many changes of a container's counter there were.
    """

    def __init__(
        self,
        client: EtcdClient,
        prefix: str,
        names: Sequence[str],
        watched: Sequence[str],
        chance: Random,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._watched = watched
        self._others = [name for name in names if name not in watched]
        self._chance = chance
        self._config = config
        self._turn = 0
        self.numbers = dict.fromkeys(names, 0)
        self.changes = 0

    def create(self) -> None:
        """Put the first document of each container."""
        names = list(self.numbers)
        for at in range(0, len(names), FIRST):
            self._client.change(*map(self._put, names[at : at + FIRST]))

    def _put(self, name: str) -> dict[str, Any]:
        return putting(f"{self._prefix}{name}", self._document(name))

    def _document(self, name: str) -> str:
        return document(self.numbers[name], self._config)

    def change(self) -> None:
        """Change some containers in one transaction, which is repeated if need be."""
        some = self._chance.sample(self._others, TOGETHER - 2)
        for _ in range(2):
            some.append(self._watched[self._turn % len(self._watched)])
            self._turn += 1
        for name in some:
            self.numbers[name] += 1
        self.changes += len(some)
        self._commit([self._put(name) for name in some], some[0])

    def replace(self) -> None:
        """Remove a container, and make another one with its name at once."""
        name = self._chance.choice(self._others)
        key = f"{self._prefix}{name}"
        self._client.change(deleting(key))
        self._client.change(putting(key, self._document(name)))

    def _commit(self, operations: Sequence[dict[str, Any]], name: str) -> None:
        """Do a transaction, and make sure that it is done.

        A late one has no effect: it puts the same documents again, and the only etcd
        that this is used with is killed meanwhile.
        """
        wanted = self._document(name)
        while True:
            try:
                self._client.change(*operations)
            except (*UNCERTAIN, EtcdError):
                time.sleep(0.05)
                if self._has(name, wanted):
                    return
            else:
                return

    def _has(self, name: str, wanted: str) -> bool:
        try:
            return self._client.get(f"{self._prefix}{name}").value == wanted
        except (*UNCERTAIN, EtcdError):
            return False

    @contextmanager
    def changing(self, rate: float) -> Iterator[None]:
        """Change containers meanwhile.

        :param rate: how many changes a second there are, unless etcd is too slow.
        """

        def go_on(is_over: threading.Event) -> None:
            at = time.monotonic()
            while not is_over.wait(max(0, at - time.monotonic())):
                self.change()
                at += TOGETHER / rate

        with in_thread(go_on):
            yield
