"""Tests of `devlxd.admin.status`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.status import MAX_PROBLEMS
from devlxd.model import Container, Fault, Listener, Refusal, SourceState
from tests.admin.operators import DocumentedStore, Operated, RemoteStore


class StatusTests(SynchronousTestCase):
    """``/status``."""

    def test_status(self) -> None:
        """The state of the process, of all its services together."""
        operated = Operated(
            DocumentedStore([Container("c1"), Container("c2")]),
            DocumentedStore([Container("c1")]),
        )
        operated.stores[0].found = [Fault("/c/c9.yaml", 3, "wrong", "c9")]
        one, two = operated.services
        one.counts, one.endless = {"c1": 2, None: 3}, {"c1": 1}
        two.counts, two.bound = {"c1": 4}, [Listener("incus", "/i/sock", False)]
        for records in operated.records:
            records.refused(None, Refusal.NOT_IN_CONTAINER, "no")
        operated.operation.limits = lambda: {"max_connections": 5}
        operated.operation.pid = 77
        operated.clock.advance(1.5)
        self.assertEqual(
            operated.ask("/status").json(),
            {
                "version": "1.2.3",
                "pid": 77,
                "uptime_seconds": 1.5,
                "healthy": True,
                "problems": [
                    "/c/c9.yaml:3: wrong",
                    "devlxd does not listen at /i/sock",
                ],
                "listeners": [
                    {"dialect": "lxd", "address": "/l/sock", "listening": True},
                    {"dialect": "incus", "address": "/i/sock", "listening": False},
                ],
                "sources": [],
                "containers": {"known": 4, "broken": 1},
                "connections": 9,
                "subscribers": 1,
                "refused": {"not in a container": 2},
                "limits": {"max_connections": 5},
            },
        )

    def test_sources(self) -> None:
        """A remote source has an age; one that does not answer is a problem."""
        store = RemoteStore([Container("c1")])
        operated = Operated(store, DocumentedStore())
        status = operated.ask("/status").json()
        self.assertEqual(
            status["sources"],
            [
                {
                    "source": "etcd:/h1/",
                    "answers": True,
                    "age_seconds": 2.5,
                    "problem": "",
                }
            ],
        )
        self.assertEqual(status["problems"], [])
        store.state = SourceState("etcd:/h1/", False, 90.25, "no luck")
        status = operated.ask("/status").json()
        self.assertTrue(status["healthy"])
        text = "etcd:/h1/ does not answer (no luck), what is served is 1 min 30 s old"
        self.assertEqual(status["problems"], [text])
        self.assertIn(text, operated.ask("/").body.decode())
        self.assertEqual(operated.ask("/overview").json()["sources"], [text])
        store.state, store.broken = SourceState("etcd:/h1/", False, None, "x"), "x"
        status = operated.ask("/status").json()
        self.assertIsNone(status["sources"][0]["age_seconds"])
        self.assertEqual((status["healthy"], status["problems"]), (False, ["x"]))

    def test_sockets(self) -> None:
        """The sockets of all containers are one listener, with their number."""
        operated = Operated(DocumentedStore([Container("c1")]))
        operated.services[0].bound = [Listener("lxd", "each:/l", True, 9998, 2)]
        status = operated.ask("/status").json()
        self.assertEqual(
            status["listeners"],
            [
                {
                    "dialect": "lxd",
                    "address": "each:/l",
                    "listening": True,
                    "sockets": 9998,
                    "missing": 2,
                }
            ],
        )
        self.assertEqual(status["problems"], ["2 containers have no socket at each:/l"])
        self.assertTrue(status["healthy"])

    def test_many_problems(self) -> None:
        """At most 100 problems are listed."""
        operated = Operated()
        operated.stores[0].found = [
            Fault(f"/c/{n}.yaml", 1, "wrong", str(n)) for n in range(MAX_PROBLEMS + 1)
        ]
        status = operated.ask("/status").json()
        self.assertEqual(len(status["problems"]), MAX_PROBLEMS)
        self.assertEqual(status["containers"]["broken"], MAX_PROBLEMS + 1)


class HealthTests(SynchronousTestCase):
    """``/healthz``."""

    def setUp(self) -> None:
        self.operated = Operated()
        (self.store,) = self.operated.stores
        (self.service,) = self.operated.services

    def check(self, code: int, text: str) -> None:
        """Check the response, and that ``/status`` agrees."""
        answer = self.operated.ask("/healthz")
        self.assertEqual((answer.code, answer.body.decode()), (code, text))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        status = self.operated.ask("/status").json()
        self.assertEqual(status["healthy"], code == 200)
        if code != 200:
            self.assertEqual(status["problems"][0], text.splitlines()[0])

    def test_healthy(self) -> None:
        """Without a problem it is 200."""
        self.check(200, "ok\n")

    def test_broken_document(self) -> None:
        """A broken document keeps no other container from being served."""
        self.store.found = [Fault("/c/c1.yaml", 1, "wrong", "c1")]
        self.check(200, "ok\n")

    def test_listens_nowhere(self) -> None:
        """It is 503 if devlxd listens nowhere."""
        self.service.bound = [Listener("lxd", "/l/sock", False)]
        self.check(503, "devlxd listens nowhere\n")

    def test_listens_somewhere(self) -> None:
        """One endpoint that listens is enough."""
        self.service.bound.append(Listener("lxd", "/m/sock", False))
        self.check(200, "ok\n")

    def test_directory(self) -> None:
        """It is 503 if the documents cannot be read at all."""
        self.store.broken = "/c: No such file or directory"
        self.check(503, "/c: No such file or directory\n")

    def test_loading(self) -> None:
        """It is 503 until all documents are read."""
        self.store.mark_loading()
        self.check(503, "the containers are not all read yet\n")
        self.store.mark_loaded()
        self.check(200, "ok\n")

    def test_all_reasons(self) -> None:
        """Each reason is on a line of its own."""
        self.service.bound = []
        self.store.broken = "/c: gone"
        self.check(503, "devlxd listens nowhere\n/c: gone\n")
