"""A host agent that starts LXC containers: ``twistd -ny examples/agent.py``.

Each container boots with a secret. When its guest is ready, the agent replaces the
secret, and sees the guest take the new one. When the agent stops, so do its containers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from twisted.application.service import Application, MultiService
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd import Container, DevLXDService, MemoryStore
from devlxd.interfaces import IDevLXDReactor, IReadyObserver, IServiceObserver
from devlxd.model import Caller, GuestState, Refusal

HERE = Path(__file__).absolute().parent

#: The directory of the socket.
SOCKETS = "/run/devlxd"

#: The root of the containers, which is empty but for what LXC mounts.
ROOT = "/run/devlxd-root"

NAMES = ("c1", "c2")

KEY = "user.secret"


class LXC:
    """The programs of LXC."""

    def __init__(self, reactor: IReactorProcess) -> None:
        self._reactor = reactor

    def start(self, name: str) -> Deferred[None]:
        """Start a container, which exists only while it runs."""
        for directory in ("dev", "proc", "sys"):
            Path(ROOT, directory).mkdir(parents=True, exist_ok=True)
        settings = [
            f"lxc.uts.name={name}",
            f"lxc.rootfs.path=dir:{ROOT}",
            f"lxc.mount.entry={HERE}/guest.sh dev/guest.sh none bind,create=file 0 0",
            f"lxc.mount.entry={SOCKETS} dev/lxd none bind,create=dir 0 0",
        ]
        defined = [f"--define={setting}" for setting in settings]
        return self._run("lxc-start", name, [f"--rcfile={HERE}/guest.conf", *defined])

    def stop(self, name: str) -> Deferred[None]:
        """Stop a container."""
        return self._run("lxc-stop", name, ["--kill"])

    def _run(self, program: str, name: str, options: Sequence[str]) -> Deferred[None]:
        arguments = [f"--name={name}", *options]
        ended: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            program, arguments, env=os.environ, reactor=self._reactor
        )

        def check(result: tuple[bytes, bytes, int]) -> None:
            _output, errors, code = result
            if code:
                raise RuntimeError(f"{program} {name}: {errors.decode().strip()}")

        return ended.addCallback(check)


@implementer(IReadyObserver, IServiceObserver)
class Agent(MultiService):
    """The agent: its containers, and the guest API that they use.

    :ivar replaced: the containers that have not taken their new secret yet.
    """

    _log = Logger()

    def __init__(self, reactor: IDevLXDReactor, lxc: LXC, names: Iterable[str]) -> None:
        super().__init__()
        self.names, self.lxc = list(names), lxc
        self.store = MemoryStore()
        self.replaced: set[str] = set()
        devlxd = DevLXDService(
            reactor, self.store, listen={"lxd6": SOCKETS}, observer=self
        )
        devlxd.states.watch(self)
        devlxd.setServiceParent(self)

    def startService(self) -> None:
        """See `IService.startService`: start the containers, too."""
        super().startService()
        for name in self.names:
            self.store.put(Container(name, {KEY: secrets.token_hex()}))
            self.lxc.start(name).addErrback(self._failed)

    def stopService(self) -> Deferred[object]:
        """See `IService.stopService`: stop the containers first."""
        stops = [self.lxc.stop(name).addErrback(self._failed) for name in self.names]
        return gatherResults(stops).addCallback(
            lambda _: super(Agent, self).stopService()
        )

    def _failed(self, failure: Failure) -> None:
        self._log.error("{error}", error=failure.value)

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`: replace the secret of a ready guest."""
        if state is GuestState.READY:
            self._log.info("{name} is ready", name=container)
            self.replaced.add(container)
            self.store.set_config(container, KEY, secrets.token_hex())

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`: note that a guest takes its new secret."""
        if (path, code) == (f"/1.0/config/{KEY}", 200) and container in self.replaced:
            self.replaced.remove(container)
            self._log.info("{name} has taken its new secret", name=container)

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self._log.warn("refused: {name}: {reason}", name=container, reason=reason)

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""


application = Application("agent")
Agent(
    cast(IDevLXDReactor, installed), LXC(cast(IReactorProcess, installed)), NAMES
).setServiceParent(application)
