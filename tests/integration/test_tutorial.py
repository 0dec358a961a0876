"""Tests that run the commands of docs/tutorial.rst with a real container."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.lxc import LXCContainer, missing_requirement
from tests.integration.test_readme import ReadmeTestCase
from tests.readme import TUTORIAL, blocks_of


class TutorialTests(ReadmeTestCase):
    """A reader who types the commands reads what the tutorial says."""

    skip = missing_requirement()

    def test_tutorial(self) -> None:
        """The container reads its configuration and receives an event."""
        container = LXCContainer(self.name, Path("/var/lib/lxc"))
        container.make()
        self.addCleanup(container.stop)
        (prepare,) = blocks_of(TUTORIAL, "Prepare a container")
        (start,) = blocks_of(TUTORIAL, "Start devlxd")
        ask, look, responses, from_host = blocks_of(TUTORIAL, "Let the container ask")
        (change,) = blocks_of(TUTORIAL, "Watch a change")
        (switch_off,) = blocks_of(TUTORIAL, "Switch the guest API off")

        self.run_block(prepare)
        self.serve(start)
        self.assertEqual(self.run_block(ask), "bar")
        self.assertEqual(self.run_block(look), self.adapt(responses))
        self.assertEqual(self.run_block(from_host), "not in a container\n")
        event = json.loads(self.run_block(change))
        self.assertEqual(
            event["metadata"], {"key": "user.foo", "old_value": "bar", "value": "baz"}
        )
        self.assertEqual(self.run_block(switch_off), "not authorized\n")
