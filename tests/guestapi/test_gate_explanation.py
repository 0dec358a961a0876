"""Tests of `devlxd.guestapi.gate_explanation`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.gate_explanation import explain_gates
from devlxd.model import Container, Explanation, Result, Step

IDENTIFIED = Step("user", Result.PASSED)


class ExplainGatesTests(SynchronousTestCase):
    """`explain_gates`, for one caller of the container ``c1``."""

    def explain(
        self, uid: int | None, *dialects: Dialect, **config: str
    ) -> Explanation:
        """Explain what the gates say to a user of ``c1``.

        :param config: the config of ``c1``; its keys with ``_`` for each dot.
        """
        keys = {key.replace("_", "."): value for key, value in config.items()}
        explanation = Explanation(7, (IDENTIFIED,), "c1", uid=uid)
        store = MemoryStore([Container("c1", keys)])
        return explain_gates(explanation, store, dialects)

    def assert_refused(self, text: str, explanation: Explanation) -> None:
        """Check that the only gate refuses the caller."""
        self.assertEqual(explanation.refused, text)
        step = Step("gate of lxd", Result.FAILED, text)
        self.assertEqual(explanation.steps, (IDENTIFIED, step))
        self.assertEqual(explanation.container, "c1")

    def test_root(self) -> None:
        """Root may ask."""
        explanation = self.explain(0, LXD)
        self.assertIsNone(explanation.refused)
        step = Step("gate of lxd", Result.PASSED, "uid 0 of c1 may ask")
        self.assertEqual(explanation.steps, (IDENTIFIED, step))

    def test_user(self) -> None:
        """Another user may ask if the config says so; its values are not shown."""
        key = "security_devlxd_uids"
        text = "uid 1000 inside is neither root nor one of security.devlxd.uids"
        self.assert_refused(text, self.explain(1000, LXD))
        self.assert_refused(text, self.explain(1000, LXD, **{key: "1001"}))
        self.assertIsNone(self.explain(1000, LXD, **{key: "1000"}).refused)

    def test_no_user(self) -> None:
        """A user of the host is no user of the container."""
        text = "no user inside is neither root nor one of security.devlxd.uids"
        self.assert_refused(text, self.explain(None, LXD))

    def test_switched_off(self) -> None:
        """A container may have no API."""
        text = "security.devlxd of c1 is false"
        self.assert_refused(text, self.explain(0, LXD, security_devlxd="false"))

    def test_removed(self) -> None:
        """A container may have been removed."""
        explanation = Explanation(7, (IDENTIFIED,), "c1", uid=0)
        self.assert_refused(
            "c1 is not in the store", explain_gates(explanation, MemoryStore(), [LXD])
        )

    def test_some(self) -> None:
        """If only some dialects refuse, the process is not refused."""
        explanation = self.explain(0, APOLLO, LXD, APOLLO, security_devlxd="false")
        self.assertIsNone(explanation.refused)
        self.assertEqual(
            {step.check: step.result for step in explanation.steps[1:]},
            {"gate of lxd": Result.FAILED, "gate of apollo": Result.PASSED},
        )
        self.assertEqual(len(explanation.steps), 3)

    def test_not_identified(self) -> None:
        """Without a container, or without dialects, there is no gate."""
        for container in (None, "c1"):
            explanation = Explanation(7, (IDENTIFIED,), container, "reason")
            dialects = [LXD] if container is None else []
            self.assertEqual(
                explain_gates(explanation, MemoryStore(), dialects), explanation
            )
