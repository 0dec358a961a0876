"""Tests of `devlxd.admin.containers`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Caller, Container, Fault, GuestState, Init, Refusal
from tests.admin.operators import NOW_TEXT, DocumentedStore, Operated

#: The entry of a container of which nothing is known but its document.
EMPTY = {
    "broken": False,
    "run": None,
    "state": "Started",
    "connections": 0,
    "subscribers": 0,
}


class ContainersTests(SynchronousTestCase):
    """``/containers`` and ``/containers/NAME``."""

    def setUp(self) -> None:
        self.store = DocumentedStore([Container("c2"), Container("c1")])
        self.operated = Operated(self.store)
        (self.service,) = self.operated.services
        (self.records,) = self.operated.records

    def test_list(self) -> None:
        """All containers are listed by name, also those that are broken."""
        self.store.found = [
            Fault("/c/c3.yaml", 1, "wrong", "c3"),
            Fault("/c/c1.yaml", 1, "odd", "c1", breaks=False),
            Fault("/c/x.txt", 0, "ignored"),
        ]
        self.assertEqual(
            self.operated.ask("/containers").json(),
            [
                {**EMPTY, "name": "c1", "document": "/c/c1.yaml"},
                {**EMPTY, "name": "c2", "document": "/c/c2.yaml"},
                {**EMPTY, "name": "c3", "document": None, "broken": True},
            ],
        )

    def test_no_containers(self) -> None:
        """Without containers the list is empty."""
        answer = Operated(DocumentedStore()).ask("/containers")
        self.assertEqual(answer.body, b"[]\n")

    def test_container(self) -> None:
        """One container is described with its faults, run, state and refusals."""
        caller = Caller("c1", 0, 1, Init(4711, 5, "boot"))
        self.service.known = [caller]
        self.service.counts, self.service.endless = {"c1": 3, "c2": 4}, {"c1": 2}
        self.service.states.set(caller, GuestState.READY)
        self.store.found = [
            Fault("/c/c1.yaml", 7, "odd", "c1", breaks=False),
            Fault("/c/c1.yaml", 2, "wrong", "c1"),
            Fault("/c/c2.yaml", 2, "wrong", "c2"),
        ]
        self.records.asked("c1", "/1.0", 200)
        self.records.refused("c1", Refusal.NOT_PERMITTED, "no")
        self.assertEqual(
            self.operated.ask("/containers/c1").json(),
            {
                "name": "c1",
                "document": "/c/c1.yaml",
                "broken": True,
                "run": {"pid": 4711},
                "state": "Ready",
                "connections": 3,
                "subscribers": 2,
                "faults": [
                    {
                        "file": "/c/c1.yaml",
                        "line": 2,
                        "text": "wrong",
                        "breaks": True,
                    },
                    {
                        "file": "/c/c1.yaml",
                        "line": 7,
                        "text": "odd",
                        "breaks": False,
                    },
                ],
                "last_question": NOW_TEXT,
                "refusals": {"user not permitted": 1},
            },
        )

    def test_quiet_container(self) -> None:
        """A container that has not asked has no run, and no last question."""
        answer = self.operated.ask("/containers/c2").json()
        self.assertEqual(
            answer,
            {
                **EMPTY,
                "name": "c2",
                "document": "/c/c2.yaml",
                "faults": [],
                "last_question": None,
                "refusals": {},
            },
        )

    def test_unknown_init(self) -> None:
        """Under ``--assume`` the pid of the run is not known."""
        self.service.known = [Caller("c1", 0)]
        answer = self.operated.ask("/containers/c1").json()
        self.assertEqual(answer["run"], {"pid": None})

    def test_no_such_container(self) -> None:
        """Any other name is a 404, also one that is no name."""
        for name in ("c9", "c1%2F", "..", "%00", "%ff"):
            answer = self.operated.ask(f"/containers/{name}")
            self.assertEqual(answer.code, 404)
            self.assertEqual(answer.json(), {"error": "no such container"})

    def test_two_directories(self) -> None:
        """A name in two directories is listed twice; one is in ``others``."""
        operated = Operated(self.store, DocumentedStore([Container("c1")]))
        operated.services[1].counts = {"c1": 5}
        listed = operated.ask("/containers").json()
        self.assertEqual([one["name"] for one in listed], ["c1", "c1", "c2"])
        self.assertEqual([one["connections"] for one in listed], [0, 5, 0])
        answer = operated.ask("/containers/c1").json()
        (other,) = answer["others"]
        self.assertEqual((answer["connections"], other["connections"]), (0, 5))
        self.assertNotIn("others", operated.ask("/containers/c2").json())
