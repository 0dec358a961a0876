"""Tests of `devlxd.host.private_apis`: undocumented behaviour still holds."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from functools import partial

from twisted.application.app import ApplicationRunner
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.logger import Logger, LogPublisher
from twisted.scripts._twistd_unix import ServerOptions, UnixAppLogger
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.dry_run import DryRunReactor
from devlxd.host.private_apis import (
    MALFORMED_DESCRIPTION,
    NO_SUCH_SYSTEMD_SOCKET,
    accept_descriptor,
    adopted_descriptor,
    is_adopted_unix,
    set_clock,
    unix_path,
)


class CPythonTests(SynchronousTestCase):
    """Private methods of `socket.socket`."""

    def test_accept_descriptor(self) -> None:
        """``socket.socket._accept`` returns a descriptor that the caller owns."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.setblocking(False)
            # Linux binds it to an unused abstract address (unix(7), "Autobind").
            listening.bind("")
            listening.listen()
            self.assertRaises(BlockingIOError, accept_descriptor, listening)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(listening.getsockname())
                descriptor, address = accept_descriptor(listening)
                self.assertFalse(os.get_inheritable(descriptor))
                # A client that is not bound has no address.
                self.assertFalse(address)
                os.write(descriptor, b"x")
                self.assertEqual(client.recv(1), b"x")
                os.close(descriptor)
                self.assertEqual(client.recv(1), b"")


class IdleReactor(ReactorBase):
    """A reactor without descriptors."""

    def installWaker(self) -> None:
        """See `ReactorBase.installWaker`; there are no threads."""


class ReactorTests(SynchronousTestCase):
    """The clock of `ReactorBase`."""

    def test_set_clock(self) -> None:
        """A reactor reads the time of its delayed calls from the clock that is set."""
        reactor, clock = IdleReactor(), Clock()
        set_clock(reactor, clock.seconds)
        self.assertEqual(reactor.seconds(), 0)
        called: list[str] = []
        call = reactor.callLater(10, called.append, "called")
        self.assertEqual(call.getTime(), 10)
        self.assertEqual(reactor.timeout(), 10)
        clock.advance(9)
        reactor.runUntilCurrent()
        self.assertEqual((reactor.timeout(), called), (1, []))
        call.reset(2)
        self.assertEqual(call.getTime(), 11)
        clock.advance(2)
        reactor.runUntilCurrent()
        self.assertEqual(called, ["called"])


class TwistdTests(SynchronousTestCase):
    """The log of twistd."""

    def test_order(self) -> None:
        """twistd opens its log after it has made the service."""
        runner, calls = ApplicationRunner(ServerOptions()), list[str]()
        for name in ("preApplication", "createOrGetApplication", "postApplication"):
            self.patch(runner, name, partial(calls.append, name))
        self.patch(runner.logger, "start", lambda application: calls.append("log"))
        self.patch(runner.logger, "stop", lambda: None)
        runner.run()
        self.assertEqual(
            calls,
            ["preApplication", "createOrGetApplication", "log", "postApplication"],
        )

    def test_stdout(self) -> None:
        """With ``-n``, twistd logs to `sys.stdout` as it is when the log is opened."""
        options, stdout = ServerOptions(), io.StringIO()
        options["nodaemon"] = True
        logger = UnixAppLogger(options)
        self.patch(sys, "stdout", stdout)
        observer = logger._getLogObserver()
        Logger("n", observer=LogPublisher(observer)).info("a line")
        self.assertIn("a line\n", stdout.getvalue())


class EndpointTests(SynchronousTestCase):
    """Twisted's endpoints."""

    def test_no_such_systemd_socket(self) -> None:
        """``systemd:`` raises a `LookupError` when systemd passed no such socket."""
        for which in ("name=x", "index=0"):
            description = f"systemd:domain=UNIX:{which}"
            self.assertRaises(
                NO_SUCH_SYSTEMD_SOCKET, serverFromString, MemoryReactor(), description
            )

    def test_inherited_descriptors(self) -> None:
        """Twisted keeps what it removes from the environment when it is imported."""
        program = (
            "import os; os.environ['LISTEN_PID'] = str(os.getpid());"
            "import twisted.internet.endpoints;"
            "from devlxd.host.private_apis import inherited_descriptors;"
            "print(inherited_descriptors(), os.environ['LISTEN_FDNAMES'])"
        )
        environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
        output = subprocess.check_output(
            [sys.executable, "-c", program], env=environment, text=True
        )
        self.assertEqual(output, "[3, 4] a:b\n")

    def test_malformed_description(self) -> None:
        """Malformed descriptions raise these exceptions, and no others."""
        for description in (
            "nope:1",
            "tcp:x",
            "tcp:1:2:3:4:5:6",
            "unix:/a:b=c",
            "unix:/a:mode=rw",
            "systemd:domain=UNIX",
        ):
            self.assertRaises(
                MALFORMED_DESCRIPTION, serverFromString, MemoryReactor(), description
            )

    def test_adopted(self) -> None:
        """An adopted socket has a file descriptor and an address family."""
        for family in (socket.AF_UNIX, socket.AF_INET):
            endpoint = AdoptedStreamServerEndpoint(MemoryReactor(), 3, family)
            self.assertEqual(adopted_descriptor(endpoint), 3)
            self.assertEqual(is_adopted_unix(endpoint), family == socket.AF_UNIX)

    def test_unix_path(self) -> None:
        """An endpoint knows the path of its socket before it listens."""
        endpoint = UNIXServerEndpoint(MemoryReactor(), "/a/sock")
        self.assertEqual(unix_path(endpoint), "/a/sock")

    def test_listen_immediately(self) -> None:
        """Endpoints call the reactor before `listen` returns."""
        reactor = DryRunReactor()
        self.successResultOf(UNIXServerEndpoint(reactor, "/a/sock").listen(Factory()))
        self.assertEqual(reactor.address, "/a/sock")
        endpoint = TCP4ServerEndpoint(reactor, 80, interface="127.0.0.1")
        self.successResultOf(endpoint.listen(Factory()))
        self.assertEqual(reactor.address, "127.0.0.1")
