"""Tests of `devlxd.peers.checks`, and of explanations by `CallerIdentifier`."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from devlxd.interfaces import IRuntime
from devlxd.model import Caller, Claim, Container, Explanation, Result, Step
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.peers.checks import UNRECORDED, RecordedChecks
from devlxd.peers.identifier import CallerIdentifier
from devlxd.testing import MemoryProcess, MemoryRuntime
from tests.peers.test_id_maps import CURRENT
from tests.peers.test_identifier import ATTACKER, ID, VICTIM, IdentifierTestCase

#: The checks of a caller that is identified.
CHECKS = [
    "process",
    "cgroup",
    "pid namespace",
    "init",
    "monitor",
    "run",
    "same container",
    "still alive",
    "document",
    "name",
    "user",
]


class RecordedChecksTests(SynchronousTestCase):
    """`RecordedChecks`."""

    def test_results(self) -> None:
        """The steps are in the order in which they were reported."""
        checks = RecordedChecks(7)
        checks.begin("one")
        checks.passed("{} of {}", 1, 2)
        checks.skipped("two", "no {}", "reason")
        checks.begin("three")
        checks.failed(ValueError("oh"))
        steps = (
            Step("one", Result.PASSED, "1 of 2"),
            Step("two", Result.SKIPPED, "no reason"),
            Step("three", Result.FAILED, "oh"),
        )
        self.assertEqual(
            checks.explanation(None), Explanation(7, steps, None, "oh", None)
        )
        caller = Caller("c1", 5)
        self.assertEqual(RecordedChecks(7).explanation(caller).container, "c1")
        self.assertEqual(RecordedChecks(7).explanation(caller).uid, 5)

    def test_text_of_guests(self) -> None:
        """Details are bounded lines of printable ASCII; braces have no meaning."""
        checks = RecordedChecks(7)
        checks.begin("one")
        checks.passed("{}", "{0}\x1b[2J\n\u202e" + 10_000 * "x")
        checks.begin("two")
        checks.failed(ValueError("{} \r" + 10_000 * "x"))
        explanation = checks.explanation(None)
        for step, start in zip(
            explanation.steps, ("{0}?[2J??xx", "{} ?xx"), strict=True
        ):
            self.assertTrue(step.detail.startswith(start), step.detail)
            self.assertLess(len(step.detail), 1010)
        self.assertEqual(explanation.refused, explanation.steps[1].detail)

    def test_unrecorded(self) -> None:
        """Without a recording no text is formatted."""
        UNRECORDED.begin("x")
        UNRECORDED.passed("{} {}", 1)
        UNRECORDED.skipped("x", "{} {}", 1)


class ExplainTests(IdentifierTestCase):
    """`CallerIdentifier.explain`."""

    def explain(
        self, cgroup: str, namespaces: Sequence[int] = (ATTACKER,), uid: int = 100_000
    ) -> Explanation:
        """Explain a process; check that this leaves nothing behind."""
        text = self.host.format(cgroup=cgroup)
        self.table.processes[42] = MemoryProcess(
            text, namespaces, uid=uid, program="/usr/bin/curl"
        )
        pidfds, readers = dict(self.table.pidfds), list(self.reactor.readers)
        explanation = self.identifier.explain(42)
        self.assertEqual(self.table.pidfds, pidfds)
        self.assertEqual(list(self.reactor.readers), readers)
        return explanation

    def assert_failed(
        self, check: str, reason: str, explanation: Explanation
    ) -> Explanation:
        """Check that the last check of an explanation has failed for a reason."""
        step = explanation.steps[-1]
        self.assertEqual((step.check, step.result), (check, Result.FAILED))
        self.assertIn(reason, step.detail)
        self.assertEqual(explanation.refused, step.detail)
        self.assertIsNone(explanation.container)
        return explanation

    def details(self, explanation: Explanation) -> dict[str, str]:
        """Return the details of the checks that have not failed."""
        return {
            step.check: step.detail
            for step in explanation.steps
            if step.result is not Result.FAILED
        }

    def test_served(self) -> None:
        """All checks of a right caller are named, with what was found."""
        explanation = self.explain("/lxc.payload.attacker/x")
        self.assertEqual([step.check for step in explanation.steps], CHECKS)
        details = self.details(explanation)
        self.assertEqual(
            details["process"],
            "uid 100000, command curl, cgroup /lxc.payload.attacker/x",
        )
        self.assertEqual(
            details["init"],
            "pid 10, the init of that namespace, is in the cgroup of attacker",
        )
        self.assertEqual(
            details["monitor"],
            "pid 1010, the parent of the init, is the monitor of attacker "
            "(lxc in /var/lib/lxc)",
        )
        self.assertEqual(
            details["document"],
            "attacker is in the store, with runtime: any, lxcpath: any",
        )

    def test_known_run(self) -> None:
        """The checks of a known run are those made when devlxd first saw it."""
        self.identify("/lxc.payload.attacker")
        explanation = self.explain("/lxc.payload.attacker/x")
        self.assertEqual([step.check for step in explanation.steps], CHECKS)
        details = self.details(explanation)
        self.assertIn("when devlxd first saw it", details["init"])
        self.assertEqual(
            details["run"], "devlxd knows it as run 1, which has not ended"
        )

    def test_changes_nothing(self) -> None:
        """A run that was only explained takes no name from another one."""
        self.add_init(30, "/lxc.payload.attacker-1", 300, "attacker", "/other")
        for _ in range(2):
            explanation = self.explain("/lxc.payload.attacker-1", [300])
            self.assertEqual(explanation.container, "attacker")
        self.identify("/lxc.payload.attacker")
        self.assert_failed(
            "name",
            "another container attacker (lxc in /var/lib/lxc) is running",
            self.explain("/lxc.payload.attacker-1", [300]),
        )

    def test_no_process(self) -> None:
        """For a process that does not exist, the first check has failed."""
        for pid in (43, -1, 2**40):
            self.assert_failed(
                "process", f"there is no process {pid}", self.identifier.explain(pid)
            )

    def test_no_pid(self) -> None:
        """A pid that is none, such as that of a thread, is refused with the reason."""
        for error, reason in (
            (OSError(errno.EINVAL, "Invalid argument"), "7 is no process: [Errno 22]"),
            (OverflowError(), "there is no process 7"),
        ):

            def open_pidfd(pid: int, error: Exception = error) -> int:
                raise error

            self.patch(self.table, "open_pidfd", open_pidfd)
            self.assert_failed("process", reason, self.identifier.explain(7))

    def test_ended(self) -> None:
        """A process that has ended, or ends meanwhile, is not identified."""
        answers = [False]
        self.patch(self.table, "is_alive", lambda _: answers.pop(0))
        self.assert_failed(
            "process", "has ended", self.explain("/lxc.payload.attacker")
        )
        answers[:] = [True] * 4 + [False]
        self.assert_failed(
            "still alive", "ended before", self.explain("/lxc.payload.attacker")
        )

    def test_refused(self) -> None:
        """The check that fails is named for each kind of refusal."""
        self.add_init(30, "/user.slice", 300)
        self.add_init(31, "/lxc.payload.attacker", 310, "victim")
        self.add_init(32, "/lxc.payload.gone", 320, "gone")
        for cgroup, namespaces, check, reason in (
            ("/user.slice/lxc.payload.victim", [], "cgroup", "of no container"),
            ("/lxc.payload.victim", [], "pid namespace", "host's pid namespace"),
            ("/lxc.payload.attacker", [300], "init", "(pid 30) is in the cgroup of no"),
            ("/lxc.payload.attacker", [333], "init", "no init"),
            ("/lxc.payload.attacker", [310], "monitor", "that of another container"),
            (
                "/lxc.payload.victim",
                [ATTACKER],
                "same container",
                "namespace of attacker",
            ),
            (
                "/lxc.payload.attacker",
                [VICTIM],
                "same container",
                "namespace of victim",
            ),
            ("/lxc.payload.gone", [320], "document", "gone is not in the store"),
        ):
            self.assert_failed(check, reason, self.explain(cgroup, namespaces))

    def test_another_runtime(self) -> None:
        """A document for a container of another runtime is named."""
        self.store.put(Container("attacker", runtime="incus"))
        self.assert_failed(
            "document",
            "for a container of incus in any path, this one is of lxc",
            self.explain("/lxc.payload.attacker"),
        )

    def test_id_map(self) -> None:
        """An id map of an unknown format is named, not shown."""
        self.store.put(Container("attacker", {CURRENT: "secret"}))
        explanation = self.assert_failed(
            "user", f"{CURRENT} is not an id map", self.explain("/lxc.payload.attacker")
        )
        self.assertNotIn("secret", repr(explanation))

    def test_users(self) -> None:
        """The user is shown as the host and as the container see it."""
        for uid, inside, text in (
            (100_000, 0, "uid 100000 is 0 inside"),
            (101_000, 1000, "uid 101000 is 1000 inside"),
            (0, None, "uid 0 is no user inside"),
        ):
            explanation = self.explain("/lxc.payload.attacker", uid=uid)
            self.assertEqual(explanation.uid, inside)
            self.assertEqual(self.details(explanation)["user"], text)

    def test_without_monitor(self) -> None:
        """The check of the monitor is skipped where containers have none."""
        cgroup = f"/machine.slice/libpod-{ID}.scope"
        self.add_init(30, cgroup, 300)
        explanations = [self.explain(cgroup, [300])]
        self.identify(cgroup, [300])
        explanations.append(self.explain(cgroup, [300]))
        for explanation in explanations:
            self.assertEqual(explanation.container, "pod")
            (monitor,) = [s for s in explanation.steps if s.check == "monitor"]
            self.assertIs(monitor.result, Result.SKIPPED)
            self.assertEqual(monitor.detail, "containers of podman have none")

    def test_runtime_without_name(self) -> None:
        """A plugin without a name is named as such."""
        runtime = MemoryRuntime({"/attacker": Claim(name="attacker")})
        self.patch(MemoryRuntime, "name", None)
        del MemoryRuntime.name
        identifier = CallerIdentifier(self.store, self.table, [runtime], self.reactor)
        self.assertTrue(IRuntime.providedBy(runtime))
        self.identifier = identifier
        self.add_init(30, "/attacker", 300)
        explanation = self.explain("/attacker", [300])
        self.assertEqual(explanation.container, "attacker")
        self.assertIn("a plugin", self.details(explanation)["cgroup"])


class AssumedTests(SynchronousTestCase):
    """`AssumedIdentifier.explain`."""

    def test_every_process(self) -> None:
        """Every process is root of the container, as the option says."""
        explanation = AssumedIdentifier("c1").explain(2**40)
        self.assertEqual((explanation.container, explanation.uid), ("c1", 0))
        self.assertIn("--assume", explanation.steps[0].detail)
