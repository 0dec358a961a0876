"""Tests of ``devlxd events``."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path

from devlxd.client.errors import NotSupported, ProtocolError, Unavailable
from devlxd.client.values import Event, Lost
from devlxd.commands import output
from tests.commands.guest.fake_guest import GuestCommandTestCase

FIRST = Event(
    "config",
    "2026-11-26T14:41:11Z",
    {"key": "user.a", "old_value": "1", "value": "2\n\x1b"},
)
SECOND = Event(
    "device",
    "2026-11-26T14:41:12Z",
    {"action": "removed", "name": "eth0", "config": {}},
)
LOST = Lost(timestamp="2026-11-26T14:41:13Z")


class EventsTests(GuestCommandTestCase):
    """Events that are printed."""

    def test_text(self) -> None:
        """Each event is a line, until Ctrl-C; control characters are escaped."""
        self.guest.happenings = [FIRST, SECOND, LOST]
        self.assertEqual(self.run_command("events"), 130)
        self.assertEqual(
            self.printed(),
            "2026-11-26T14:41:11Z config key=user.a old_value=1 value=2\\n\\x1b\n"
            '2026-11-26T14:41:12Z device action=removed name=eth0 config=""\n'
            "2026-11-26T14:41:13Z lost\n",
        )
        self.assertEqual(self.notes(), [])

    def test_json(self) -> None:
        """With ``--json`` each event is one line of JSON, also that some were lost."""
        self.guest.happenings = [FIRST, SECOND, LOST]
        self.assertEqual(self.run_command("events", "--json"), 130)
        lines = self.printed().splitlines()
        self.assertEqual(
            [json.loads(line) for line in lines],
            [
                {
                    "timestamp": event.timestamp,
                    "type": event.type,
                    "metadata": event.metadata,
                }
                for event in (FIRST, SECOND, LOST)
            ],
        )

    def test_at_once(self) -> None:
        """Each event is printed when it is received, not when a buffer is full."""
        printed: list[bytes] = []
        self.guest.happenings = [FIRST, lambda: printed.append(self.printed_bytes())]
        self.assertEqual(self.run_command("events", "--json"), 130)
        self.assertIn(b"user.a", printed[0])

    def test_arguments(self) -> None:
        """The types and the time at which to begin are those that were asked for."""
        self.run_command("events")
        self.run_command("events", "--type=config", "--since", FIRST.timestamp)
        self.run_command("events", "--type", "config", "--type", "device")
        self.assertEqual(
            self.guest.listened,
            [([], None), (["config"], FIRST.timestamp), (["config", "device"], None)],
        )

    def test_usage(self) -> None:
        """A type that there is not, or a time that is none, is a wrong command line."""
        self.assertEqual(self.run_command("events", "--type=lost"), 2)
        self.assertIn("invalid choice", self.error())
        self.assertEqual(self.run_command("events", "--since=yesterday"), 2)
        self.assertIn("not a time", self.error())

    def test_errors(self) -> None:
        """Errors at the start, and later, have their exit statuses."""
        for error, status in (
            (Unavailable("no server answers"), 5),
            (NotSupported("no events: not found"), 1),
        ):
            self.guest.error = error
            self.assertEqual(self.run_command("events"), status)
            self.assertEqual(self.error(), f"devlxd: {error}")
        self.guest.error = None
        self.guest.happenings = [FIRST, ProtocolError("no \x1b JSON")]
        self.assertEqual(self.run_command("events"), 1)
        self.assertEqual(self.error(), "devlxd: no \\x1b JSON")
        self.assertIn("user.a", self.printed())


class CommandLogTestCase(GuestCommandTestCase):
    """A base class of tests with a command that logs the events."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Path(self.mktemp()).resolve()
        self.command = f'echo "$DEVLXD_TYPE $DEVLXD_TIMESTAMP" >>{self.log}'

    def logged(self) -> list[str]:
        """Return for which events the command was run."""
        return self.log.read_text().splitlines() if self.log.exists() else []


class ExecTests(CommandLogTestCase):
    """Events for which a command is run."""

    def test_each(self) -> None:
        """The command is run for each event in order, also for ``lost``."""
        self.guest.happenings = [FIRST, SECOND, LOST]
        self.assertEqual(self.run_command("events", "--exec", self.command), 130)
        self.assertEqual(
            self.logged(),
            [f"{event.type} {event.timestamp}" for event in (FIRST, SECOND, LOST)],
        )
        self.assertEqual(self.printed(), "")

    def test_one_after_the_other(self) -> None:
        """The next event waits for the end of the command."""
        seen: list[int] = []
        self.guest.happenings = [FIRST, lambda: seen.append(len(self.logged())), SECOND]
        self.run_command("events", "--exec", self.command)
        self.assertEqual(seen, [1])

    def test_failure(self) -> None:
        """A command that fails is not run again, and the next one is run."""
        self.guest.happenings = [FIRST, SECOND]
        self.run_command("events", "--exec", f"{self.command}; exit 7")
        self.assertEqual(len(self.logged()), 2)
        notes = self.notes()
        self.assertEqual(len(notes), 2)
        for note in notes:
            self.assertIn("exit status 7", note)


class StateTests(CommandLogTestCase):
    """Events over restarts of the command."""

    def setUp(self) -> None:
        super().setUp()
        self.state = Path(self.mktemp())

    def listen(self, *arguments: str) -> str | None:
        """Run the command with a state file; return where it has begun."""
        status = self.run_command("events", "--state", str(self.state), *arguments)
        self.assertEqual(status, 130, self.errors.getvalue())
        return self.guest.listened.pop()[1]

    def remembered(self) -> str:
        """Return the timestamp in the state file."""
        since: str = json.loads(self.state.read_text())["since"]
        return since

    def test_first_run(self) -> None:
        """The first run begins now, or with ``--since``; the next where it was then."""
        self.assertIsNone(self.listen())
        self.assertEqual(self.remembered(), self.guest.position)
        self.assertEqual(self.listen(), self.guest.position)
        self.state.unlink()
        self.assertEqual(self.listen("--since", FIRST.timestamp), FIRST.timestamp)
        self.assertEqual(self.remembered(), FIRST.timestamp)

    def test_continues(self) -> None:
        """The next run begins after the last event, whatever ``--since`` says."""
        for arguments in ((), ("--json",), ("--exec", self.command)):
            self.state.unlink(missing_ok=True)
            self.guest.happenings = [FIRST, SECOND]
            self.listen(*arguments)
            self.guest.happenings = []
            since = self.listen("--since", FIRST.timestamp)
            self.assertEqual(since, SECOND.timestamp)

    def test_lost(self) -> None:
        """After ``lost`` the next run begins at its time."""
        self.guest.happenings = [FIRST, LOST]
        self.listen("--exec", self.command)
        self.assertEqual(self.remembered(), LOST.timestamp)

    def test_after_the_command(self) -> None:
        """An event is remembered when its command has ended, not before."""
        self.guest.happenings = [FIRST]
        self.listen("--exec", f"cp {self.state.resolve()} {self.log}")
        self.assertIn(self.guest.position, self.log.read_text())
        self.assertEqual(self.remembered(), FIRST.timestamp)

    def test_failure_is_remembered(self) -> None:
        """A command that has failed has ended, too."""
        self.guest.happenings = [FIRST]
        self.listen("--exec", "exit 1")
        self.assertEqual(self.remembered(), FIRST.timestamp)

    def test_interrupted(self) -> None:
        """A command that Ctrl-C has ended is run again by the next run."""
        self.guest.happenings = [FIRST, SECOND]
        me = os.getpid()
        self.listen("--exec", f"kill -INT {me}; exec cat /dev/zero >/dev/null")
        self.assertEqual(self.remembered(), self.guest.position)
        self.assertEqual(self.notes(), [])

    def test_interrupted_at_the_end(self) -> None:
        """An event whose command has ended is remembered, if Ctrl-C comes then."""

        def press() -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        self.guest.happenings = [FIRST, press, SECOND]
        self.listen("--exec", self.command)
        self.assertEqual(self.remembered(), FIRST.timestamp)
        self.assertEqual(len(self.logged()), 1)

    def test_not_printed(self) -> None:
        """An event that could not be printed is not remembered."""
        self.guest.happenings = [FIRST]
        self.patch(output, "discard_output", lambda: None)
        with open("/dev/full", "wb", buffering=0) as full:
            stdout = io.TextIOWrapper(full, write_through=True)
            self.patch(type(self), "stdout", lambda _self: stdout)
            status = self.run_command("events", "--state", str(self.state))
        self.assertEqual(status, 1)
        self.assertEqual(self.remembered(), self.guest.position)

    def test_no_timestamp(self) -> None:
        """An event whose timestamp is none is not remembered: that is an error."""
        self.guest.happenings = [FIRST, Event("config", "now", {})]
        self.assertEqual(self.run_command("events", "--state", str(self.state)), 1)
        self.assertIn("not a timestamp: now", self.error())
        self.assertEqual(self.remembered(), FIRST.timestamp)

    def test_damaged(self) -> None:
        """A damaged file is one line and status 1; the server is not asked."""
        self.state.write_text("{")
        self.assertEqual(self.run_command("events", "--state", str(self.state)), 1)
        self.assertIn("damaged", self.error())
        self.assertEqual(self.guest.listened, [])
        self.assertEqual(self.state.read_text(), "{")

    def test_locked(self) -> None:
        """Two commands cannot have one file: the second ends with status 1."""
        statuses: list[int] = []

        def start_another() -> None:
            statuses.append(self.run_command("events", "--state", str(self.state)))

        self.guest.happenings = [start_another]
        self.listen()
        self.assertEqual(statuses, [1])
        self.assertIn("another devlxd events uses it", self.error())

    def test_no_server(self) -> None:
        """Without a server there is no state: the first run has not begun."""
        self.guest.error = Unavailable("no server answers")
        self.assertEqual(self.run_command("events", "--state", str(self.state)), 5)
        self.assertFalse(self.state.exists())
