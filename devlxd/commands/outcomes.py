# -*- test-case-name: tests.commands.test_main -*-
"""How commands end: the exit statuses, and the error that ends a command."""

from __future__ import annotations

import enum


class ExitStatus(enum.IntEnum):
    """The exit statuses of all commands."""

    OK = 0
    #: Refused, unhealthy, or at fault: the answer is bad news.
    BAD = 1
    #: The command line is wrong.
    USAGE = 2
    #: There is no such container, key, device or image.
    NOT_FOUND = 3
    #: The server refuses the guest.
    NOT_ALLOWED = 4
    #: No server answers on the socket, or not in time.
    NO_SERVICE = 5
    #: Ended by Ctrl-C, SIGTERM or SIGHUP.
    INTERRUPTED = 130
    #: The reader of the standard output has closed it; 128 and the number of SIGPIPE.
    CLOSED_OUTPUT = 141


class CommandError(Exception):
    """A command has failed.

    :ivar status: the exit status.
    :param text: the reason, for one line on standard error.
    """

    def __init__(self, text: str, status: ExitStatus = ExitStatus.BAD) -> None:
        super().__init__(text)
        self.status = status
