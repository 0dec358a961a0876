"""Tests of `devlxd.admin.tree`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Caller, Container, Fault, GuestState, Init, Refusal
from tests.admin.operators import DocumentedStore, Operated, OperatorConnection

#: A value that no operator may see.
SECRET = "s3cr3t-value"


class TreeTests(SynchronousTestCase):
    """All paths of the operator's socket."""

    def test_public(self) -> None:
        """These paths, and no others, are served on TCP endpoints too."""
        public = {path for path, one in Operated().routes.items() if one.is_public}
        self.assertEqual(
            public,
            {"/", "/healthz", "/metrics", "/overview", "/page.css", "/page.js"},
        )

    def test_no_secrets(self) -> None:
        """No response has a value of a config or of a device."""
        secret = Container(
            "c1",
            {"user.password": SECRET, "security.devlxd": SECRET},
            {"disk": {"source": SECRET, SECRET: SECRET}},
            id=SECRET,
        )
        store = DocumentedStore([secret])
        store.found = [Fault("/c/c1.yaml", 3, "must be true or false", "c1")]
        operated = Operated(store)
        (service,), (records,) = operated.services, operated.records
        caller = Caller("c1", 0, 1, Init(4711, 5, "boot"))
        service.known, service.counts = [caller], {"c1": 1}
        service.states.set(caller, GuestState.READY)
        records.asked("c1", "/1.0/config/user.password", 200)
        records.refused("c1", Refusal.NOT_PERMITTED, "no")
        for path in operated.routes:
            query = path.replace("*", "c1") + "?pid=1"
            method = "POST" if path == "/reload" else "GET"
            if path != "/events":
                answer = operated.ask(query, method)
                self.assertEqual(answer.code, 200, path)
                self.assertNotIn(SECRET.encode(), answer.body)
            for wrong in ("PATCH", "HEAD"):
                self.assertNotIn(SECRET.encode(), operated.ask(query, wrong).body)

    def test_no_secrets_in_events(self) -> None:
        """No event has a value of a config or of a device."""
        operated = Operated()
        follower = OperatorConnection(operated.site)
        follower.ask("/events?asked=1")
        reporter = operated.reporter
        old = Container("c1", {"user.a": "x"}, {"d": {"a": "b"}})
        new = Container("c1", {"user.a": SECRET, "b": SECRET}, {"d": {SECRET: SECRET}})
        for before, after in ((None, new), (new, old), (old, new), (new, None)):
            reporter.changed("c1", before, after)
        received = follower.receive()
        self.assertEqual(received.count(b'"event"'), 4)
        self.assertIn(b'"user.a"', received)
        self.assertNotIn(SECRET.encode(), received)
