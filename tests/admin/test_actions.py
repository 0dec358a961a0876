"""Tests of `devlxd.admin.actions`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Container
from devlxd.reloading import Reloaded
from tests.admin.operators import DocumentedStore, Operated


class WhyTests(SynchronousTestCase):
    """``/why``."""

    def test_why(self) -> None:
        """The checks of an identification are listed, and what comes of them."""
        step = {"check": "container", "result": "passed", "detail": "c1"}
        self.assertEqual(
            Operated().ask("/why?pid=1").json(),
            {"pid": 1, "steps": [step], "container": "c1", "refused": None},
        )

    def test_refused(self) -> None:
        """For a process that is refused, the last check has failed."""
        step = {
            "check": "container",
            "result": "failed",
            "detail": "c7 is not in the store",
        }
        self.assertEqual(
            Operated().ask("/why?pid=7").json(),
            {
                "pid": 7,
                "steps": [step],
                "container": None,
                "refused": "not in a container",
            },
        )

    def test_two_directories(self) -> None:
        """The directory in which the container is decides."""
        operated = Operated(
            *(DocumentedStore([Container(name)]) for name in ("c1", "c2", "c3"))
        )
        for pid in (1, 2, 3):
            answer = operated.ask(f"/why?pid={pid}").json()
            self.assertEqual(answer["container"], f"c{pid}")

    def test_bad_pid(self) -> None:
        """What is not a process id is a 400."""
        for query in (
            "",
            "?",
            "?pid=",
            "?pid=0",
            "?pid=-1",
            "?pid=1x",
            "?pid=12345678",
        ):
            answer = Operated().ask(f"/why{query}")
            self.assertEqual(answer.code, 400, query)
            self.assertEqual(answer.json(), {"error": "pid must be a process id"})


class ReloadTests(SynchronousTestCase):
    """``/reload``."""

    def setUp(self) -> None:
        self.operated = Operated()
        self.reloads = 0
        self.reloaded = Reloaded(["max_connections=5"], ["listen"])
        self.operated.operation.reload = self.reload

    def reload(self) -> Reloaded:
        """Count the calls."""
        self.reloads += 1
        return self.reloaded

    def test_reload(self) -> None:
        """``POST`` reads all again, and returns what needs a restart."""
        answer = self.operated.ask("/reload", "POST")
        self.assertEqual(
            answer.json(),
            {"changed": ["max_connections=5"], "needs_restart": ["listen"]},
        )
        self.assertEqual(self.reloads, 1)

    def test_mistake(self) -> None:
        """A mistake in the configuration is a 409, with the mistake."""
        self.reloaded = Reloaded(problem="/etc/devlxd.yaml:3: wrong")
        answer = self.operated.ask("/reload", "POST")
        self.assertEqual(answer.code, 409)
        self.assertEqual(answer.json(), {"error": "/etc/devlxd.yaml:3: wrong"})

    def test_default(self) -> None:
        """Without a configuration nothing needs a restart."""
        self.assertEqual(
            Operated().ask("/reload", "POST").json(),
            {"changed": [], "needs_restart": []},
        )

    def test_browser(self) -> None:
        """A browser cannot do it."""
        for origin in ("null", "http://localhost", ""):
            answer = self.operated.ask("/reload", "POST", [f"Origin: {origin}"])
            self.assertEqual(answer.code, 403)
        self.assertEqual(self.reloads, 0)

    def test_get(self) -> None:
        """A link cannot do it."""
        self.assertEqual(self.operated.ask("/reload").code, 405)
        self.assertEqual(self.reloads, 0)
