# -*- test-case-name: tests.commands.guest.test_event_hook -*-
"""Running a command of the user for each event."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from contextlib import suppress

from devlxd.client.values import Event
from devlxd.commands.guest.interrupts import Interrupts
from devlxd.commands.guest.rendering import event_json
from devlxd.commands.outcomes import CommandError
from devlxd.commands.output import note

SHELL = "/bin/sh"

#: How long a command may take to end when devlxd is interrupted, in seconds.
GRACE = 5.0

#: The environment variables for the members of an event, and of its metadata.
_MEMBERS = {b"DEVLXD_TYPE": "type", b"DEVLXD_TIMESTAMP": "timestamp"}
_METADATA = {
    b"DEVLXD_KEY": "key",
    b"DEVLXD_VALUE": "value",
    b"DEVLXD_OLD_VALUE": "old_value",
    b"DEVLXD_DEVICE": "name",
    b"DEVLXD_ACTION": "action",
}


class Hook:
    """A command that is run for each event, one after the other.

    :param command: for ``/bin/sh -c``.
    """

    def __init__(self, command: str) -> None:
        self._command = command

    def run(self, event: Event, interrupts: Interrupts) -> bool:
        """Run the command for an event, and say on standard error if it fails.

        When an interrupt arrives, end the command with all processes of its session.

        :return: whether it has ended by itself.
        :raises CommandError: if it cannot be started.
        """
        process = self._start(event)
        interrupts.wait(process)
        status = process.poll()
        if status is None:
            _end(process)
            return False
        if status:
            note(f"the command for {_name(event)} has failed: {_reason(status)}")
        return True

    def _start(self, event: Event) -> subprocess.Popen[bytes]:
        """Start the command, without variables that are too long for the kernel."""
        variables = _variables(event)
        inherited = {
            name: value
            for name, value in os.environb.items()
            if name not in _MEMBERS and name not in _METADATA
        }
        while True:
            try:
                return self._popen(event, {**inherited, **variables})
            except OSError as error:
                if error.errno != errno.E2BIG or not variables:
                    raise CommandError(f"{SHELL}: {error.strerror}") from None
            longest = max(variables, key=lambda name: len(variables[name]))
            del variables[longest]
            _note_missing(event, longest, "is too long")

    def _popen(
        self, event: Event, environment: dict[bytes, bytes]
    ) -> subprocess.Popen[bytes]:
        # From a file, unlike from a pipe, a command need not read.
        stdin = os.memfd_create("event")
        try:
            with open(stdin, "wb", closefd=False) as file:
                file.write(event_json(event))
            os.lseek(stdin, 0, os.SEEK_SET)
            # A session of its own: Ctrl-C in the terminal is for this process, which
            # ends the others.
            return subprocess.Popen(
                [SHELL, "-c", self._command],
                stdin=stdin,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(stdin)


def _variables(event: Event) -> dict[bytes, bytes]:
    """Return the environment variables of an event: those that it has."""
    values = {name: getattr(event, member) for name, member in _MEMBERS.items()}
    for name, member in _METADATA.items():
        if isinstance(event.metadata.get(member), str):
            values[name] = event.metadata[member]
    variables = {}
    for name, value in values.items():
        try:
            variables[name] = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            _note_missing(event, name, "is not Unicode")
            continue
        if "\0" in value:
            _note_missing(event, name, "contains NUL")
            del variables[name]
    return variables


def _note_missing(event: Event, variable: bytes, reason: str) -> None:
    note(
        f"{_name(event)}: {variable.decode()} {reason} and is not in the environment; "
        "standard input has it"
    )


def _name(event: Event) -> str:
    return f"the {event.type} event of {event.timestamp}"


def _reason(status: int) -> str:
    """Return why a process has failed.

    :param status: as `subprocess.Popen.returncode`.
    """
    if status > 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all others of its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return
