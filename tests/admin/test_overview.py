"""Tests of what the page for browsers shows."""

from __future__ import annotations

import json
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from devlxd import Container, MemoryStore
from devlxd.admin.metrics import RequestCounter
from devlxd.admin.operation import Operation
from devlxd.admin.overview import MAX_SHOWN, overview
from devlxd.admin.page import render_page
from devlxd.model import Refusal
from tests.admin.operators import count
from tests.admin.test_metrics import Service, operation_of


def refused_operation() -> Operation:
    """Return a process whose service has refused a container and unknown callers."""
    operation = operation_of(Service())
    records = operation.guests[0].records
    for _ in range(2):
        records.refused("c1", Refusal.SWITCHED_OFF, "no")
    for _ in range(5):
        records.refused(None, Refusal.NOT_IN_CONTAINER, "no")
    return operation


class OverviewTests(SynchronousTestCase):
    """`overview`."""

    def setUp(self) -> None:
        self.operation = refused_operation()
        self.counter = RequestCounter()

    def test_counts(self) -> None:
        """Connections, subscribers, containers and requests are counted."""
        count(self.counter, "toy", 200, 0.001)
        found = overview(self.operation, self.counter)
        self.assertEqual((found["connections"], found["subscribers"]), (3, 1))
        self.assertEqual(found["requests"], 1)
        self.assertEqual(found["containers"]["known"], 1)
        self.assertEqual(found["containers"]["broken"], 1)

    def test_containers(self) -> None:
        """Each container is shown with its document, its state and its counts."""
        found = overview(self.operation, self.counter)
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
        store = cast(MemoryStore, self.operation.guests[0].service.store)
        for number in range(2 * MAX_SHOWN):
            store.put(Container(f"a{number}"))
        found = overview(self.operation, self.counter)
        self.assertEqual(found["containers"]["known"], 2 * MAX_SHOWN + 1)
        names = [one["name"] for one in found["containers"]["shown"]]
        self.assertEqual(len(names), MAX_SHOWN)
        self.assertEqual(names[-1], "c1")

    def test_effort(self) -> None:
        """The connections are counted once, however many containers there are."""
        service = self.operation.guests[0].service
        store = cast(MemoryStore, service.store)
        calls: list[int] = []

        def count() -> dict[str, int]:
            calls.append(1)
            return {}

        self.patch(service, "subscribers", count)
        overview(self.operation, self.counter)
        few = len(calls)
        for number in range(MAX_SHOWN):
            store.put(Container(f"a{number}"))
        overview(self.operation, self.counter)
        self.assertEqual(len(calls), 2 * few)

    def test_refusals(self) -> None:
        """Refusals are shown by kind and container, the most frequent first."""
        found = overview(self.operation, self.counter)
        self.assertEqual(
            [(one["reason"], one["container"]) for one in found["refusals"]],
            [("not in a container", "(not identified)"), ("switched off", "c1")],
        )

    def test_faults(self) -> None:
        """Faults are shown by file and line."""
        found = overview(self.operation, self.counter)
        places = [(one["file"], one["line"]) for one in found["faults"]]
        self.assertEqual(
            places, [("/c/c1.yaml", 1), ("/c/c1.yaml", 2), ("/c/c2.yaml", 1)]
        )

    def test_no_values(self) -> None:
        """It is JSON, and no value of a config is in it."""
        text = json.dumps(overview(self.operation, self.counter))
        self.assertNotIn("secret-value", text)


class PageTests(SynchronousTestCase):
    """`render_page`."""

    def page(self, **changes: object) -> str:
        """Return the page of a service, with changes of its overview."""
        found = overview(refused_operation(), RequestCounter())
        found |= {"uptime": "3 min", "healthy": True, "problems": []}
        return render_page(found | changes, "host1").decode()

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

    def test_sockets(self) -> None:
        """The sockets of all containers are one row, with their number."""
        each = {"dialect": "lxd", "address": "each:/l", "listening": True}
        page = self.page(listeners=[{**each, "sockets": 9998, "missing": 2}])
        self.assertIn("listening, 9998 sockets, 2 missing", page)

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
