"""Tests of guests that send requests while devlxd is still reading documents."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import ProcessTestCase
from tests.integration.servers import DevLXD
from tests.integration.test_operator import get_foo
from tests.integration.test_specification import curl

#: The number of documents besides the container's own.
OTHERS = 1000


def write_documents(directory: Path, name: str) -> None:
    """Write a document of 1 MiB for the container ``name``, and many small ones."""
    directory.mkdir()
    lines = [f"  user.{n}: {'x' * 100}\n" for n in range(10_000)]
    text = "config:\n  user.foo: bar\n" + "".join(lines)
    (directory / f"{name}.yaml").write_text(text)
    for n in range(OTHERS):
        (directory / f"other-{n}.yaml").write_text("config: {user.foo: other}\n")


class AssumedTests(ProcessTestCase):
    """A devlxd that identifies every caller as one container (``--assume``)."""

    def test_large(self) -> None:
        """The first request waits for a large document of the caller's container."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        write_documents(home / "documents", "c1")
        devlxd = DevLXD(
            f"--containers={home}/documents", f"--listen={home}/run", "--assume=c1"
        )
        self.addCleanup(devlxd.stop)
        response = get_foo(home / "run" / "sock")
        self.assertTrue(response.endswith(b"\r\n\r\nbar"), response)


class RestartTests(ProcessTestCase):
    """A container that runs while devlxd is started again."""

    skip = missing_requirement()

    def test_restart(self) -> None:
        """A guest finds the new socket, and waits for its large document."""
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        container = LXCContainer(
            unique_name("boot"), home, 100_000, {home / "run": "dev/lxd"}
        )
        write_documents(home / "documents", container.name)
        options = [f"--containers={home}/documents", f"--listen={home}/run"]
        devlxd = DevLXD(*options)
        try:
            container.start()
            self.addCleanup(container.stop)
            request = curl("/dev/lxd/sock", "/1.0/config/user.foo")
            self.assertEqual(container.run(*request), "bar200")
        finally:
            devlxd.stop()
        self.addCleanup(DevLXD(*options).stop)
        self.assertEqual(container.run(*request), "bar200")
