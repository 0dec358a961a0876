"""Tests that run the programs in ``examples/``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import twisted.internet
from twisted.application.service import IService, MultiService
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IContainerStore, IRuntime, IServiceObserver
from devlxd.model import Caller, Claim, Container, GuestState, Init
from devlxd.peers.identifier import CallerIdentifier
from devlxd.service import DevLXDService
from devlxd.testing import GuestConnection, MemoryDevLXDReactor, site_for
from devlxd.testing.contracts import (
    LoadingStoreContract,
    ReadyObserverContract,
    RuntimeContract,
    ServiceObserverContract,
)
from examples.inventory_store import InventoryStore
from examples.ready_agent import LoadBalancer, make_service
from examples.twisted.plugins.jails_plugin import JailRuntime

EXAMPLES = Path(__file__).parents[1] / "examples"


class AgentTestCase(SynchronousTestCase):
    """A base class that imports ``examples/agent.py``, with a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        from twisted.internet import reactor  # noqa: F401, PLC0415 # it must exist

        self.patch(twisted.internet, "reactor", self.reactor)
        from examples import agent  # noqa: PLC0415 # after the patch

        self.agent = agent
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)


class AgentTests(AgentTestCase):
    """``examples/agent.py``."""

    def test_application(self) -> None:
        """``twistd -y`` finds the agent in the application."""
        application = IService(self.agent.application)
        assert isinstance(application, MultiService)
        (service,) = application
        assert isinstance(service, MultiService)
        self.assertEqual(len(list(service)), 2)

    def test_serves(self) -> None:
        """The agent listens; guests that are in no container are refused."""
        service = self.agent.make_service(self.reactor, self.directory)
        service.startService()
        ((_, site, *_rest),) = self.reactor.unixServers
        assert isinstance(site, DevLXDSite)
        guest = GuestConnection(site)
        self.assertIn(b"not in a container", guest.get("/1.0"))
        guest.disconnect()
        self.successResultOf(service.stopService())

    def test_observer(self) -> None:
        """The agent's observer logs the requests of guests, with their status."""
        site = site_for(
            MemoryStore([Container("c1")]), "c1", observer=self.agent.RequestLog()
        )
        with capturedLogs() as events:
            GuestConnection(site).get("/1.0/config")
        self.assertEqual([formatEvent(e) for e in events], ["c1: /1.0/config: 200"])


class RequestLogTests(ServiceObserverContract, AgentTestCase):
    """The observer of ``examples/agent.py``."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        observer: IServiceObserver = self.agent.RequestLog()
        return observer


class ReadyAgentTests(ReadyObserverContract, SynchronousTestCase):
    """``examples/ready_agent.py``."""

    def make_observer(self) -> LoadBalancer:
        """See `ReadyObserverContract.make_observer`."""
        return LoadBalancer()

    def test_targets(self) -> None:
        """The observer knows the containers whose guests are ready."""
        balancer = LoadBalancer()
        for container in ("c1", "c2"):
            balancer.state_changed(container, GuestState.READY)
        balancer.state_changed("c1", GuestState.STARTED)
        self.assertEqual(balancer.targets, {"c2"})

    def test_restart(self) -> None:
        """After a restart, the observer is notified of guests that are ready."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        for expected in (set(), {"c1"}):
            reactor = MemoryDevLXDReactor()
            balancer = LoadBalancer()
            store = MemoryStore([Container("c1")])
            agent = make_service(reactor, store, balancer, directory)
            caller = Caller("c1", uid=0, run=1, init=Init(7, 100, "boot"))
            self.patch(CallerIdentifier, "caller_of", lambda *_, caller=caller: caller)
            agent.startService()
            reactor.advance(0)
            self.assertEqual(balancer.targets, expected)
            (service,) = [child for child in agent if isinstance(child, DevLXDService)]
            service.states.set(caller, GuestState.READY)
            self.successResultOf(agent.stopService())


class InventoryStoreTests(LoadingStoreContract, SynchronousTestCase):
    """``examples/inventory_store.py``."""

    def make_store(self) -> InventoryStore:
        """See `ContainerStoreContract.make_store`."""
        store = self.make_loading_store()
        self.finish_loading(store)
        return store

    def make_loading_store(self) -> InventoryStore:
        """See `LoadingStoreContract.make_loading_store`."""
        self.clock = Clock()
        self.containers: dict[str, Container] = {}
        store = InventoryStore(Path(self.mktemp()), self.clock)
        store.startService()
        self.addCleanup(store.stopService)
        # There is no file yet.
        self.assertEqual(len(self.flushLoggedErrors(FileNotFoundError)), 1)
        return store

    def finish_loading(self, store: IContainerStore) -> None:
        """See `LoadingStoreContract.finish_loading`."""
        assert isinstance(store, InventoryStore)
        self.path = store.path
        self.write()

    def write(self) -> None:
        """Write the file, and wait until the store has read it."""
        inventory = {
            name: {
                "config": dict(container.config),
                "devices": {n: dict(d) for n, d in container.devices.items()},
                "id": container.id,
            }
            for name, container in self.containers.items()
        }
        self.path.write_text(json.dumps(inventory))
        self.clock.advance(10)

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        self.containers[container.name] = container
        self.write()

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        self.containers.pop(name, None)
        self.write()

    def test_unreadable(self) -> None:
        """All containers stay as they are if the content of the file is invalid."""
        self.put_container(Container("c1"))
        self.path.write_text('{"c1": {"config": {"user.number": 1}}}')
        self.clock.advance(10)
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("user.number", failure.getErrorMessage())
        self.assertEqual(self.store.get("c1"), Container("c1"))


class JailRuntimeTests(RuntimeContract, SynchronousTestCase):
    """``examples/twisted/plugins/jails_plugin.py``."""

    def make_runtime(self) -> IRuntime:
        """See `RuntimeContract.make_runtime`."""
        return JailRuntime()

    def own_cgroups(self) -> Mapping[str, Claim]:
        """See `RuntimeContract.own_cgroups`."""
        return {"/jails/c1": Claim(name="c1")}

    def test_plugin_is_found(self) -> None:
        """devlxd finds the plugin if ``examples`` is in ``PYTHONPATH``."""
        code = (
            "from devlxd.peers.runtimes import known_runtimes\n"
            "print([r.name for r in known_runtimes()])"
        )
        path = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)])
        printed = subprocess.check_output(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        self.assertIn("'jails'", printed)
