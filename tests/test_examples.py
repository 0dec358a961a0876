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
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import (
    IContainerStore,
    IReadyObserver,
    IRuntime,
    IServiceObserver,
)
from devlxd.model import Caller, Claim, Container, GuestState, Init
from devlxd.peers.identifier import CallerIdentifier
from devlxd.service import DevLXDService
from devlxd.testing import MemoryDevLXDReactor
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
    """``examples/agent.py``, with programs of LXC that do nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(self.agent, "SOCKETS", self.directory)
        self.calls: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.service = self.agent.Agent(self.reactor, self, ["c1", "c2"])
        self.service.startService()

    def start(self, name: str) -> Deferred[None]:
        """See `examples.agent.LXC.start`."""
        self.calls.append(("start", name))
        return fail(RuntimeError("no LXC")) if name in self.failing else succeed(None)

    def stop(self, name: str) -> Deferred[None]:
        """See `examples.agent.LXC.stop`."""
        self.calls.append(("stop", name))
        return fail(RuntimeError("no LXC")) if name in self.failing else succeed(None)

    def test_application(self) -> None:
        """``twistd -y`` finds the agent in the application."""
        application = IService(self.agent.application)
        assert isinstance(application, MultiService)
        (service,) = application
        self.assertIsInstance(service, self.agent.Agent)

    def test_containers(self) -> None:
        """Each container has a secret of its own before it is started."""
        self.assertEqual(self.calls, [("start", "c1"), ("start", "c2")])
        secrets = {self.secret_of(name) for name in ("c1", "c2")}
        self.assertEqual(len(secrets), 2)

    def secret_of(self, name: str) -> str:
        """Return the secret of a container."""
        return str(self.service.store.get(name).config[self.agent.KEY])

    def test_stop(self) -> None:
        """When the agent has stopped, so have its containers, and devlxd."""
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.calls[2:], [("stop", "c1"), ("stop", "c2")])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_lxc(self) -> None:
        """What LXC's programs print is logged; the other containers are started."""
        self.failing.add("c1")
        with capturedLogs() as events:
            self.successResultOf(self.service.stopService())
            self.service.startService()
        texts = [formatEvent(event) for event in events]
        self.assertEqual(texts.count("no LXC"), 2)
        self.assertEqual(self.calls[-1], ("start", "c2"))

    def test_secret(self) -> None:
        """A ready guest gets a new secret; the agent sees it take that one only."""
        first, path = self.secret_of("c1"), f"/1.0/config/{self.agent.KEY}"
        with capturedLogs() as events:
            self.service.asked("c1", path, 200)
            self.service.state_changed("c1", GuestState.STARTED)
            self.service.state_changed("c1", GuestState.READY)
            self.service.asked("c1", "/1.0", 200)
            self.service.asked("c2", path, 200)
            self.service.asked("c1", path, 200)
            self.service.asked("c1", path, 200)
        own = [e for e in events if "Agent" in str(e["log_namespace"])]
        self.assertEqual(
            [formatEvent(event) for event in own],
            ["c1 is ready", "c1 has taken its new secret"],
        )
        self.assertNotEqual(self.secret_of("c1"), first)


class AgentContractTests(ServiceObserverContract, AgentTestCase):
    """The agent as an observer of its service."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        observer: IServiceObserver = self.agent.Agent(self.reactor, None, [])
        return observer


class AgentReadyTests(ReadyObserverContract, AgentTestCase):
    """The agent as an observer of guest states."""

    def make_observer(self) -> IReadyObserver:
        """See `ReadyObserverContract.make_observer`."""
        agent = self.agent.Agent(self.reactor, None, [])
        agent.store.replace_all([Container("c1"), Container("c2")])
        observer: IReadyObserver = agent
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


class GuestProgramTests(SynchronousTestCase):
    """``examples/test_guest_program.py``, which uses `devlxd.testing` alone."""

    def run_tests(self, *command: str) -> str:
        """Run its tests; return what is printed."""
        finished = subprocess.run(
            [sys.executable, *command],
            check=False,
            cwd=EXAMPLES.parent,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(finished.returncode, 0, finished.stdout)
        return finished.stdout

    def test_trial(self) -> None:
        """They pass with trial."""
        directory = f"--temp-directory={Path(self.mktemp()).resolve()}"
        text = self.run_tests(
            *("-m", "twisted.trial", directory, "examples.test_guest_program")
        )
        self.assertIn("PASSED (successes=2)", text)

    def test_pytest(self) -> None:
        """They pass with pytest, as does the test that needs its fixture."""
        text = self.run_tests(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
            "examples/test_guest_program.py",
        )
        self.assertIn("3 passed", text)
