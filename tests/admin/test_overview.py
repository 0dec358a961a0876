"""Tests of what the page for browsers shows."""

from __future__ import annotations

import json
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from devlxd import Container
from devlxd.admin.metrics import RequestCounter
from devlxd.admin.overview import MAX_SHOWN, overview
from devlxd.admin.page import render_page
from devlxd.model import Refusal
from tests.admin.test_metrics import Service

REFUSALS = {
    "c1": Counter({Refusal.SWITCHED_OFF: 2}),
    None: Counter({Refusal.NOT_IN_CONTAINER: 5}),
}


class OverviewTests(SynchronousTestCase):
    """`overview`."""

    def setUp(self) -> None:
        self.service = Service()
        self.counter = RequestCounter()

    def test_counts(self) -> None:
        """Connections, subscribers, containers and requests are counted."""
        self.counter.responded("toy", 200, 0.001)
        found = overview([self.service], self.counter, {})
        self.assertEqual((found["connections"], found["subscribers"]), (3, 1))
        self.assertEqual(found["requests"], 1)
        self.assertEqual(found["containers"]["known"], 1)
        self.assertEqual(found["containers"]["broken"], 1)

    def test_containers(self) -> None:
        """Each container is shown with its document, its state and its counts."""
        found = overview([self.service], self.counter, REFUSALS)
        self.assertEqual(
            found["containers"]["shown"],
            [
                {
                    "name": "c1",
                    "document": "/c/c1.yaml",
                    "state": "Started",
                    "connections": 2,
                    "subscribers": 1,
                    "refusals": 2,
                }
            ],
        )

    def test_many(self) -> None:
        """Of many containers, those with refusals and connections are shown."""
        for number in range(2 * MAX_SHOWN):
            self.service.store.put(Container(f"a{number}"))
        found = overview([self.service], self.counter, REFUSALS)
        self.assertEqual(found["containers"]["known"], 2 * MAX_SHOWN + 1)
        names = [one["name"] for one in found["containers"]["shown"]]
        self.assertEqual(len(names), MAX_SHOWN)
        self.assertEqual(names[-1], "c1")

    def test_refusals(self) -> None:
        """Refusals are shown by kind and container, the most frequent first."""
        found = overview([self.service], self.counter, REFUSALS)
        self.assertEqual(
            [(one["reason"], one["container"]) for one in found["refusals"]],
            [("not in a container", "(not identified)"), ("switched off", "c1")],
        )

    def test_faults(self) -> None:
        """Faults are shown by file and line."""
        found = overview([self.service], self.counter, {})
        places = [(one["file"], one["line"]) for one in found["faults"]]
        self.assertEqual(
            places, [("/c/c1.yaml", 1), ("/c/c1.yaml", 2), ("/c/c2.yaml", 1)]
        )

    def test_no_values(self) -> None:
        """It is JSON, and no value of a config is in it."""
        text = json.dumps(overview([self.service], self.counter, REFUSALS))
        self.assertNotIn("secret-value", text)


class PageTests(SynchronousTestCase):
    """`render_page`."""

    def page(self, **changes: object) -> str:
        """Return the page of a service, with changes of its overview."""
        found = overview([Service()], RequestCounter(), REFUSALS)
        found |= {"version": "1.2", "uptime": "3 min", "healthy": True, "problems": []}
        html = self.successResultOf(render_page(found | changes, "host1"))
        return html.decode()

    def test_complete(self) -> None:
        """Without its script the page has everything but the plots."""
        page = self.page()
        for text in (
            *("host1", "1.2", "3 min", "healthy", "/c/c1.yaml:2", "second"),
            *("switched off", "(not identified)", "Started"),
        ):
            self.assertIn(text, page)

    def test_unhealthy(self) -> None:
        """Problems are named, and are more than a colour."""
        page = self.page(healthy=False, problems=["it listens nowhere"])
        self.assertIn("NOT HEALTHY", page)
        self.assertIn("<li>it listens nowhere</li>", page)

    def test_escaped(self) -> None:
        """No text becomes markup."""
        page = self.page(problems=["<script>alert(1)</script>"])
        self.assertNotIn("<script>", page)

    def test_no_inline(self) -> None:
        """The page has no inline script or style, which its policy would forbid."""
        page = self.page()
        self.assertNotIn("style=", page)
        self.assertEqual(page.count("<script"), 1)
        self.assertIn('<script src="page.js" defer="defer"></script>', page)
