"""Tests that run the commands of docs/tutorial.rst with a real container."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.integration.lxc import HOST_DIRECTORIES, LXCContainer, missing_requirement
from tests.integration.processes import TIMEOUT, Output, run, start, wait_until
from tests.integration.test_commands import DEVLXD
from tests.integration.test_readme import ReadmeTestCase
from tests.readme import CHECKOUT, TUTORIAL, TUTORIAL_SECTIONS, blocks_of


class TutorialTests(ReadmeTestCase):
    """The commands of the tutorial, and the output that it shows."""

    skip = missing_requirement()

    def setUp(self) -> None:
        super().setUp()
        self.replacements["/opt/devlxd"] = sys.prefix
        self.replacements[" opt/devlxd"] = f" {sys.prefix[1:]}"
        # The devlxd of this checkout, also in the container.
        self.environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        paths = [CHECKOUT, Path(sys.base_prefix)]
        binds = {p: str(p)[1:] for p in paths if p.parts[1] not in HOST_DIRECTORIES}
        container = LXCContainer(self.name, Path("/var/lib/lxc"), binds=binds)
        container.create()
        self.addCleanup(container.stop)

    def test_tutorial(self) -> None:
        """The container reads its configuration, and reacts when it changes."""
        serve, ask, react = (blocks_of(TUTORIAL, title) for title in TUTORIAL_SECTIONS)
        create, start_devlxd = serve
        start_container, read, read_by_curl = ask
        wait, change, answer = react

        self.run_block(create, self.environment)
        document = self.home / "containers" / f"{self.name}.yaml"
        self.assertEqual(document.stat().st_mode & 0o777, 0o600)
        self.serve(start_devlxd, f"--admin={self.home}/admin")
        self.run_block(start_container)
        self.assertEqual(self.run_block(read, self.environment), "user.foo: bar\n")
        self.assertEqual(self.run_block(read_by_curl), "bar")
        reaction = self.start_block(wait)
        wait_until(self.is_subscribed, "a subscriber")
        self.assertEqual(reaction.text(), "")
        self.run_block(change, self.environment)
        wait_until(lambda: reaction.text() == answer, f"the output {answer!r}")

    def start_block(self, block: str) -> Output:
        """Start the command of a block; return its output."""
        output = Output("the command in the container")
        process = start(
            "sh", "-euc", self.adapt(block), env=self.environment, output=output
        )
        self.addCleanup(process.wait, TIMEOUT)
        self.addCleanup(process.kill)
        return output

    def is_subscribed(self) -> bool:
        """Return whether devlxd sends events to the container."""
        command = [DEVLXD, "containers", self.name, "--json"]
        said = run(*command, f"--socket={self.home}/admin", env=self.environment)
        return bool(json.loads(said)["subscribers"])
