"""Tests of `devlxd.commands.guest.event_hook`, with real commands."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from devlxd.client.values import Event, Lost
from devlxd.commands.guest import event_hook
from devlxd.commands.guest.event_hook import Hook
from devlxd.commands.guest.interrupts import Interrupts
from devlxd.commands.outcomes import CommandError
from devlxd.fast_paths import VARIABLE
from tests.commands.guest.fake_guest import GuestCommandTestCase

TIME = "2026-11-26T14:41:11Z"

#: The name of the event in messages.
NAME = f"devlxd: the config event of {TIME}"

CONFIG = Event(
    "config", TIME, {"key": "user.a", "old_value": "", "value": 'ä"\n$(x) \udcff'}
)
DEVICE = Event(
    "device", TIME, {"action": "added", "name": "eth0", "config": {"type": "nic"}}
)

#: Writes the variables into a file, which is read as they are.
SAVE_ENVIRONMENT = "exec env -0 >environment"


def config_event(value: str) -> Event:
    """Return an event of a key that has got a value."""
    return Event("config", TIME, {"key": "user.a", "old_value": "b", "value": value})


class HookTests(GuestCommandTestCase):
    """A command that is run for each event."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sys, "stderr", self.errors)
        # A shell starts commands in the background with SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        directory = Path(self.mktemp())
        directory.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)

    def run_hook(self, command: str, event: Event = CONFIG) -> None:
        """Run a command, which ends by itself."""
        with Interrupts() as interrupts:
            self.assertTrue(Hook(command).run(event, interrupts))

    def variables(self, event: Event) -> Mapping[bytes, bytes]:
        """Return the variables of devlxd that a command has.

        That of the fast paths may be inherited.
        """
        self.run_hook(SAVE_ENVIRONMENT, event)
        lines = Path("environment").read_bytes().split(b"\0")
        pairs = (line.partition(b"=") for line in lines)
        return {
            k: v
            for k, _, v in pairs
            if k.startswith(b"DEVLXD_") and k != VARIABLE.encode()
        }

    def test_config(self) -> None:
        """A config event is in the environment, byte for byte."""
        self.assertEqual(
            self.variables(CONFIG),
            {
                b"DEVLXD_TYPE": b"config",
                b"DEVLXD_TIMESTAMP": TIME.encode(),
                b"DEVLXD_KEY": b"user.a",
                b"DEVLXD_OLD_VALUE": b"",
                b"DEVLXD_VALUE": 'ä"\n$(x) '.encode() + b"\xff",
            },
        )

    def test_device(self) -> None:
        """A device event has its name and its action."""
        self.assertEqual(
            self.variables(DEVICE),
            {
                b"DEVLXD_TYPE": b"device",
                b"DEVLXD_TIMESTAMP": TIME.encode(),
                b"DEVLXD_DEVICE": b"eth0",
                b"DEVLXD_ACTION": b"added",
            },
        )

    def test_lost(self) -> None:
        """That events were lost has a type and a timestamp, and nothing inherited."""
        for name in ("KEY", "VALUE", "OLD_VALUE", "DEVICE", "ACTION", "TYPE"):
            self.patch(os, "environ", os.environ)
            os.environ[f"DEVLXD_{name}"] = "inherited"
            self.addCleanup(os.environ.pop, f"DEVLXD_{name}")
        self.assertEqual(
            self.variables(Lost(timestamp=TIME)),
            {b"DEVLXD_TYPE": b"lost", b"DEVLXD_TIMESTAMP": TIME.encode()},
        )

    def test_inherited(self) -> None:
        """The rest of the environment is inherited."""
        os.environ["MINE"] = "here"
        self.addCleanup(os.environ.pop, "MINE")
        self.run_hook('test "$MINE" = here')
        self.assertEqual(self.notes(), [])

    def test_stdin(self) -> None:
        """The event is on the standard input, as one line of JSON."""
        for event in (DEVICE, Lost(timestamp=TIME), config_event("x" * 1_000_000)):
            self.run_hook("cat >event", event)
            line = Path("event").read_bytes()
            self.assertTrue(line.endswith(b"}\n"))
            self.assertEqual(
                json.loads(line),
                {
                    "type": event.type,
                    "timestamp": event.timestamp,
                    "metadata": event.metadata,
                },
            )
            self.notes()

    def test_stdin_not_read(self) -> None:
        """A command need not read its standard input, however much there is."""
        self.run_hook("exec <&-; exit 0", config_event("x" * 1_000_000))
        self.assertEqual(len(self.notes()), 1)

    def test_left_behind(self) -> None:
        """A command has ended when its shell has, whatever that has left running."""
        self.run_hook("cat /dev/zero >/dev/null <&0 & echo $! >pid")
        left = int(Path("pid").read_text())
        os.kill(left, signal.SIGKILL)

    def test_failure(self) -> None:
        """That a command fails is said in one line, with the reason."""
        self.run_hook("exit 3")
        self.assertEqual(
            self.error(),
            f"devlxd: the command for the config event of {TIME} has failed: exit "
            "status 3",
        )
        self.run_hook("kill -KILL $$")
        self.assertIn("killed by SIGKILL", self.error())
        self.run_hook("kill -40 $$")
        self.assertIn("killed by signal 40", self.error())
        self.run_hook("if")
        self.assertIn("exit status 2", self.error())

    def test_nul(self) -> None:
        """A value with NUL is not in the environment, which is said."""
        event = config_event("a\0b")
        self.assertNotIn(b"DEVLXD_VALUE", self.variables(event))
        self.assertEqual(
            self.error(),
            f"{NAME}: DEVLXD_VALUE contains NUL and is not in the environment; "
            "standard input has it",
        )

    def test_not_unicode(self) -> None:
        """A value that UTF-8 has no bytes for is not in the environment."""
        self.assertNotIn(b"DEVLXD_VALUE", self.variables(config_event("\ud800")))
        self.assertIn("DEVLXD_VALUE is not Unicode", self.error())

    def test_no_text(self) -> None:
        """What is no text in an event is not in the environment."""
        event = Event("config", TIME, {"key": 1, "value": None, "old_value": []})
        self.assertEqual(
            {*self.variables(event)}, {b"DEVLXD_TYPE", b"DEVLXD_TIMESTAMP"}
        )

    def test_too_long(self) -> None:
        """A value that is too long for the kernel is left out, and the rest is not."""
        found = self.variables(config_event("x" * 32 * resource.getpagesize()))
        self.assertNotIn(b"DEVLXD_VALUE", found)
        self.assertEqual(found[b"DEVLXD_OLD_VALUE"], b"b")
        self.assertEqual(found[b"DEVLXD_KEY"], b"user.a")
        self.assertIn("DEVLXD_VALUE is too long", self.error())

    def test_longest(self) -> None:
        """The longest value that the kernel takes is in the environment."""
        value = "x" * (32 * resource.getpagesize() - len("DEVLXD_VALUE=") - 1)
        found = self.variables(config_event(value))
        self.assertEqual(found[b"DEVLXD_VALUE"], value.encode())
        self.assertEqual(self.notes(), [])

    def test_not_started(self) -> None:
        """If there is no shell, that is an error, and the event is not done with."""
        self.patch(event_hook, "SHELL", "/nope/sh")
        with self.assertRaisesRegex(CommandError, "/nope/sh: No such file"):
            self.run_hook("true")

    def test_signals(self) -> None:
        """Signals have their default actions in the command."""
        self.run_hook("grep -E 'Sig(Ign|Blk)' /proc/self/status >signals")
        lines = Path("signals").read_text().splitlines()
        self.assertEqual([int(line.split()[1], 16) for line in lines], [0, 0])

    def test_interrupt(self) -> None:
        """When it is interrupted, the command ends with all that it has started."""
        os.mkfifo("alive")
        alive = os.open("alive", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, alive)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            command = (
                "exec 3>alive; cat /dev/zero >/dev/null & "
                f"kill -{int(number)} {os.getpid()}; wait; wait"
            )
            with self.assertRaises(KeyboardInterrupt), Interrupts() as interrupts:
                self.assertFalse(Hook(command).run(CONFIG, interrupts))
            # It is readable, with nothing to read, when no process has it open.
            self.assertEqual(select.select([alive], [], [], 30)[0], [alive])
            self.assertEqual(os.read(alive, 1), b"")
        self.assertEqual(self.notes(), [])

    def test_interrupt_ignored(self) -> None:
        """A command that does not end when it should is killed."""
        self.patch(event_hook, "GRACE", 0.01)
        command = f"trap '' TERM; kill -TERM {os.getpid()}; cat /dev/zero >/dev/null"
        with self.assertRaises(KeyboardInterrupt), Interrupts() as interrupts:
            self.assertFalse(Hook(command).run(CONFIG, interrupts))
