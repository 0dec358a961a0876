"""Tests of how callers are recognized whose connections were handed over."""

from __future__ import annotations

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock

from devlxd.containers.memory_store import MemoryStore
from devlxd.model import Caller, Container
from devlxd.peers.admission import CallerAdmission
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.peer_sources import SocketPeerSource
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.testing import MemoryDevLXDReactor
from tests.integration.guest_programs import python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import TIMEOUT, ProcessTestCase
from tests.peers.test_peer_sources import transport_on

#: Connects as another user. The child keeps the connection when the parent ends, which
#: it does once told. Only the parent reads: the child would take what it is told.
PROGRAM = """
    import signal
    os.setuid(1000)
    guest = connect()
    if os.fork():
        guest.recv(1)
        os._exit(0)
    os.close(1)
    os.close(2)
    signal.pause()
"""


class RecognizedTests(ProcessTestCase):
    """A connection of a container, as two processes of devlxd see it in turn."""

    skip = missing_requirement()

    def setUp(self) -> None:
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        (home / "lxd").mkdir()
        self.container = LXCContainer(
            unique_name("guest"), home, 100_000, {home / "lxd": "dev/lxd"}
        )
        self.store = MemoryStore([Container(self.container.name)])
        self.server = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.server.close)
        self.server.settimeout(TIMEOUT)
        self.server.bind(str(home / "lxd" / "sock"))
        (home / "lxd" / "sock").chmod(0o666)
        self.server.listen()
        self.container.start()
        self.is_running = True
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the container, unless it was stopped already."""
        if self.is_running:
            self.is_running = False
            self.container.stop()

    def admission(self) -> CallerAdmission:
        """Return the admission of a new process, which knows no run."""
        identifier = CallerIdentifier(
            self.store, ProcFS(), known_runtimes(), MemoryDevLXDReactor()
        )
        self.addCleanup(identifier.stopService)
        return CallerAdmission(
            self.store, identifier, SocketPeerSource(), Clock(), lambda *_: None
        )

    def test_peer_ended(self) -> None:
        """A caller is recognized until its run ends, also when its process ended."""
        with ThreadPoolExecutor() as pool:
            running = pool.submit(self.container.run, *python(PROGRAM))
            connection, _ = self.server.accept()
            with connection:
                transport: ITransport = transport_on(connection)
                admission = self.admission()
                caller = admission.identify(transport)
                assert caller is not None
                self.assertEqual(caller.uid, 1000)
                record = admission.record_of(caller)
                self.assert_recognized(caller, transport)
                connection.sendall(b"x")
                running.result(TIMEOUT)
                self.assert_recognized(caller, transport)
                self.stop()
                self.assertIsNone(self.admission().recognize(transport, record))

    def assert_recognized(self, caller: Caller, transport: ITransport) -> None:
        """Check that a new process recognizes a caller as the same one."""
        admission = self.admission()
        again = admission.recognize(transport, admission.record_of(caller))
        assert again is not None
        self.assertEqual(again.container, self.container.name)
        self.assertEqual((again.uid, again.init), (1000, caller.init))
