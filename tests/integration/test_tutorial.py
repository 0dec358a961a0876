"""Tests that run the commands of docs/tutorial.rst with a real container."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.lxc import LXCContainer, missing_requirement
from tests.integration.test_readme import ReadmeTestCase
from tests.readme import TUTORIAL, blocks_of


class TutorialTests(ReadmeTestCase):
    """The commands of the tutorial, and the output that it shows."""

    skip = missing_requirement()

    def test_tutorial(self) -> None:
        """The container reads its configuration and receives an event."""
        container = LXCContainer(self.name, Path("/var/lib/lxc"))
        container.create()
        self.addCleanup(container.stop)
        (prepare,) = blocks_of(TUTORIAL, "Prepare a container")
        (start,) = blocks_of(TUTORIAL, "Start devlxd")
        inside = blocks_of(TUTORIAL, "Send a request")
        read_key, list_keys, responses, from_host = inside
        (change,) = blocks_of(TUTORIAL, "Watch a change")
        (switch_off,) = blocks_of(TUTORIAL, "Switch the guest API off")

        self.run_block(prepare)
        self.serve(start)
        self.assertEqual(self.run_block(read_key), "bar")
        self.assertEqual(self.run_block(list_keys), self.adapt(responses))
        self.assertEqual(self.run_block(from_host), "not in a container\n")
        event = json.loads(self.run_block(change))
        self.assertEqual(
            event["metadata"], {"key": "user.foo", "old_value": "bar", "value": "baz"}
        )
        self.assertEqual(self.run_block(switch_off), "not authorized\n")
