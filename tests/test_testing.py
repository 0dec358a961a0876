"""Tests of what `devlxd.testing` exports.

The tests of each fake are next to those of the class that it replaces.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType

from twisted.internet.task import Clock
from twisted.python.modules import getModule
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

import devlxd.client
import devlxd.interfaces
import devlxd.testing
import devlxd.testing.contracts
from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import IDevLXDReactor, IWatchListener
from devlxd.model import Container
from devlxd.testing import (
    GuestConnection,
    MemoryDevLXDReactor,
    RecordingSubscriber,
    RecordingWatchListener,
    bus_for,
    site_for,
)
from tests.test_docs import PYTHON, run_tests_in

PACKAGES = [devlxd.testing, devlxd.testing.contracts]

#: Packages that devlxd's own tests import, but that are not dependencies of devlxd.
TEST_DEPENDENCIES = ["hypothesis", "tests", "sphinx", "pytest"]


def exported(package: ModuleType) -> dict[str, object]:
    """Return the exports of a package by name."""
    return {name: getattr(package, name) for name in package.__all__}


def defined() -> Iterator[type]:
    """Yield the public classes that the modules of `devlxd.testing` define.

    Those of ``simulation`` are private.
    """
    for module in getModule("devlxd.testing").walkModules():
        if ".simulation" in module.name:
            continue
        for name, value in vars(namedAny(module.name)).items():
            is_public = inspect.isclass(value) and not name.startswith("_")
            if is_public and value.__module__ == module.name:
                yield value


class ExportTests(SynchronousTestCase):
    """The names that the packages for tests export."""

    def test_complete(self) -> None:
        """Each public class is exported by one of the packages."""
        values = [value for package in PACKAGES for value in exported(package).values()]
        missing = {kind.__name__ for kind in defined() if kind not in values}
        self.assertEqual(missing, set())

    def test_documented(self) -> None:
        """Everything exported has a docstring, and so has each public method."""
        for package in PACKAGES:
            self.assertTrue(package.__doc__)
            for name, value in exported(package).items():
                self.assertTrue(inspect.getdoc(value), name)
                if not inspect.isclass(value):
                    continue
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        self.assertTrue(function.__doc__, f"{name}.{method}")

    def test_interfaces(self) -> None:
        """The docstring of the suites names every interface and suite, no others."""
        listed = re.findall(r"`(\w+)`", devlxd.testing.contracts.__doc__ or "")
        interfaces = {
            name
            for package in (devlxd.interfaces, devlxd.client)
            for name, value in exported(package).items()
            if isinstance(value, InterfaceClass)
        }
        suites = set(devlxd.testing.contracts.__all__)
        self.assertEqual((interfaces | suites) - set(listed), set())
        unknown = set(listed) - interfaces - suites
        self.assertEqual({n for n in unknown if n[0] == "I" or "Contract" in n}, set())

    def test_dependencies(self) -> None:
        """The packages need only devlxd's own dependencies to be installed."""
        code = (
            f"import sys; sys.modules.update(dict.fromkeys({TEST_DEPENDENCIES})); "
            "import devlxd.testing, devlxd.testing.contracts"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_example(self) -> None:
        """The example in the docstring of `devlxd.testing` passes, and is short."""
        (block,) = PYTHON.findall(devlxd.testing.__doc__ or "")
        source = textwrap.dedent(block)
        self.assertLessEqual(source.count("\n"), 20)
        result = run_tests_in(source)
        self.assertEqual(result.testsRun, 1)
        self.assertTrue(result.wasSuccessful(), result.errors + result.failures)


class FakeTests(SynchronousTestCase):
    """Fakes that no contract suite tests."""

    def test_reactor(self) -> None:
        """`MemoryDevLXDReactor` has all interfaces that devlxd uses."""
        self.assertTrue(verifyObject(IDevLXDReactor, MemoryDevLXDReactor()))

    def test_watch_listener(self) -> None:
        """`RecordingWatchListener` records repeated notifications once."""
        listener = RecordingWatchListener()
        self.assertTrue(verifyObject(IWatchListener, listener))
        for _ in range(2):
            listener.touched(1, "a", True)
        listener.lost(1)
        listener.overflowed()
        self.assertEqual(
            listener.notifications, [(1, "a", True), ("lost", 1), ("overflowed",)]
        )

    def test_bus(self) -> None:
        """`bus_for` has events of the keys that the dialect exports, with its time."""
        store = MemoryStore([Container("c1")])
        clock = Clock()
        bus = bus_for(store, clock, now=lambda: 10**18)
        subscriber = RecordingSubscriber()
        bus.subscribe("c1", subscriber, ["config"]).resume()
        store.put(Container("c1", {"user.a": "1", "limits.cpu": "2"}))
        self.assertEqual(subscriber.values(), ["1"])
        self.assertGreaterEqual(subscriber.events[0].timestamp, 10**18)

    def test_receive(self) -> None:
        """A guest receives each byte once."""
        guest = GuestConnection(site_for(MemoryStore([Container("c1")]), "c1"))
        self.assertEqual(guest.receive(), b"")
        self.assertEqual(guest.get("/1.0")[9:12], b"200")
        self.assertEqual(guest.receive(), b"")
