"""What is written to etcd in a test, and what guests must hear of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.integration.etcd_client import UNCERTAIN, EtcdClient, EtcdError
from tests.integration.processes import TIMEOUT

#: The config key that counts the changes of a container.
COUNTER = "user.n"

#: A document says by it that it is still the same container.
UUID = "0ba5bd2e-5d4a-4f0c-9d5c-3e0c5f9c1a11"


def document(number: int, config: Mapping[str, str] | None = None) -> str:
    """Return the document of a container after its change ``number``.

    :param config: further config keys.
    """
    keys = {"volatile.uuid": UUID, COUNTER: str(number), **(config or {})}
    return json.dumps({"config": keys})


class CountingWriter:
    """Changes one container again and again, each change exactly once.

    Whether etcd has done what it has not answered is asked before anything else is
    written. A late request has no effect then, as each names the revision before it.

    :param clients: of the members, which are tried in turn.
    :param key: the key with the document.
    :param config: further config keys, always the same.
    :ivar number: the number of the latest change.
    """

    def __init__(
        self,
        clients: Sequence[EtcdClient],
        key: str,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._clients = list(clients)
        self._key = key
        self._config = config
        self._revision = 0
        self.number = 0

    @property
    def client(self) -> EtcdClient:
        """The client that is used now."""
        return self._clients[0]

    def write(self, count: int = 1) -> None:
        """Change the container ``count`` times."""
        for _ in range(count):
            self.number += 1
            self._write_surely(document(self.number, self._config))

    def _write_surely(self, text: str) -> None:
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                revision = self.client.replace(self._key, text, self._revision)
                if revision is None:
                    found = self.client.get(self._key)
                    self._revision = found.revision
                    if found.value == text:
                        return
                    continue
            except (*UNCERTAIN, EtcdError):
                if time.monotonic() > end:
                    raise
                self._clients.append(self._clients.pop(0))
                time.sleep(0.05)
            else:
                self._revision = revision
                return

    def after(self, earlier: CountingWriter) -> CountingWriter:
        """Go on where another writer has ended; return this one."""
        self.number = earlier.number
        return self

    def start_again(self, number: int) -> None:
        """Go on from another past, in which the latest change was ``number``."""
        self.number = number
        self._revision = 0

    @contextmanager
    def writing(self, pace: float = 0.01) -> Iterator[None]:
        """Change the container meanwhile, and once more at least after the block.

        :param pace: the time between two changes, in seconds.
        """

        def go_on(is_over: threading.Event) -> None:
            while not is_over.wait(pace):
                self.write()
            self.write()

        with in_thread(go_on):
            yield


@contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do work in a thread meanwhile; raise its exception after the block.

    :param work: ends soon after the event is set.
    """
    is_over = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(is_over)
        except BaseException as error:  # raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]
