"""Tests of a devlxd that runs in a container, in a user namespace of its own.

It serves containers that the root of that container has started.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

from tests.integration.lxc import make_home, missing_requirement, unique_name
from tests.integration.nested import (
    NestedContainer,
    NestedDevLXD,
    NestingContainer,
    imitated_guest,
)
from tests.integration.processes import ProcessTestCase
from tests.integration.test_attacks import CURL, NOT_IN_CONTAINER, NOT_ROOT

#: Runs the rest of the command line as another user.
USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]


class NestedTests(ProcessTestCase):
    """Nested containers, with and without a user namespace of their own."""

    skip = missing_requirement()

    def setUp(self) -> None:
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        self.outer = NestingContainer(unique_name("outer"), home, 100_000)
        self.outer.start()
        self.addCleanup(self.outer.stop)
        self.home = self.outer.nested_home()
        (self.home / "documents").mkdir()
        self.devlxd = NestedDevLXD(
            self.outer,
            f"--containers={self.home}/documents",
            f"--listen={self.home}/lxd",
        )
        self.addCleanup(self.devlxd.stop)

    def write(self, name: str) -> None:
        """Write the document of a container with a secret."""
        document = {"config": {"user.secret": f"secret of {name}"}}
        (self.home / "documents" / f"{name}.json").write_text(json.dumps(document))

    def start(self, host_id: int) -> NestedContainer:
        """Start a nested container with a secret.

        :param host_id: see `NestedContainer`.
        """
        container = NestedContainer(
            name=unique_name("nested"),
            home=self.home,
            host_id=host_id,
            binds={self.home / "lxd": "dev/lxd"},
            outer=self.outer,
        )
        self.write(container.name)
        container.start()
        self.addCleanup(container.stop)
        return container

    def test_served(self) -> None:
        """The root of each nested container is served, other users are not."""
        # The first is in the user namespace of devlxd, the second is not.
        for container in [self.start(0), self.start(100_000)]:
            secret = f"secret of {container.name}"
            for run_inside in (container.run, container.attach):
                self.assertEqual(run_inside(*CURL), secret)
                self.assertEqual(run_inside(*USER, *CURL), NOT_ROOT)
                self.assertEqual(run_inside(*USER, "unshare", "-Ur", *CURL), NOT_ROOT)
        self.assertEqual(self.outer.run(*self.curl()), NOT_IN_CONTAINER)

    def curl(self) -> Sequence[str]:
        """Return the command that reads the secret with the socket's path outside."""
        return [*CURL[:3], str(self.home / "lxd" / "sock"), *CURL[4:]]

    def test_imitated(self) -> None:
        """A guest that was started without LXC is served as well."""
        name = unique_name("imitated")
        self.write(name)
        secret = f"secret of {name}"
        for init in (self.curl(), ["sh", "-c", '"$@"; true', "-", *self.curl()]):
            self.assertEqual(self.outer.run(*imitated_guest(name, *init)), secret)
        self.assertEqual(
            self.outer.run(*imitated_guest(name, *USER, *self.curl())), NOT_ROOT
        )
