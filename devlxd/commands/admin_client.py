# -*- test-case-name: tests.commands.test_admin_client -*-
"""Asking a running devlxd on the operator's socket, with the standard library alone.

Importing Twisted would take longer than the question.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from devlxd.commands.outcomes import CommandError, ExitStatus

#: Where devlxd listens for operators if the unit starts it.
SOCKET = Path("/run/devlxd-admin/sock")

#: How long a question may take, in seconds.
TIMEOUT = 10.0

#: The maximum length of an answer, in bytes.
MAX_ANSWER = 64 * 1024 * 1024

#: The maximum length of an event, in bytes.
MAX_EVENT = 1024 * 1024

#: Why no devlxd answers, by the error.
_REASONS = {
    TimeoutError: f"no answer within {TIMEOUT:.0f} s",
    FileNotFoundError: "there is no such socket; is it running, with --admin?",
    BlockingIOError: "too many connections wait for it to answer",
    ConnectionRefusedError: "nothing listens there; is it running?",
    PermissionError: "permission denied; try as root",
    ConnectionError: "it closed the connection without an answer",
    http.client.IncompleteRead: "it closed the connection within the answer",
}

#: What reading an answer of another shape raises.
_WRONG_SHAPE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

_Answer = TypeVar("_Answer")


class NotFoundError(CommandError):
    """The answer is 404: there is no such thing."""


class NoServiceError(CommandError):
    """No devlxd answers on the socket."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"no devlxd at {path}: {reason}", ExitStatus.NO_SERVICE)


def define_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all commands that ask a running devlxd."""
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON, for programs"
    )
    parser.add_argument(
        "--socket",
        type=Path,
        default=SOCKET,
        metavar="PATH",
        help="the socket of the devlxd to ask, or its directory, as in --admin of "
        "twistd devlxd (default: %(default)s)",
    )


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("devlxd", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """See `http.client.HTTPConnection.connect`."""
        self.sock = self._socket = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))

    def end_timeout(self) -> None:
        """Wait for the rest of the response for as long as it takes."""
        # When the server will close the connection, `sock` is None by now.
        self._socket.settimeout(None)


class AdminClient:
    """A client of the operator's socket.

    :param path: the socket, or the directory of a socket ``sock``.
    """

    def __init__(self, path: Path) -> None:
        # `Path.is_dir` raises PermissionError.
        self._path = path / "sock" if os.path.isdir(path) else path

    def get(self, target: str) -> dict[str, Any]:
        """Return the answer to a question about one thing.

        :raises NoServiceError: if no devlxd answers.
        :raises NotFoundError: if there is no such thing.
        :raises CommandError: if the answer is another error.
        """
        answer = self._get(target)
        if not isinstance(answer, dict):
            raise self._not_understood()
        return answer

    def get_list(self, target: str) -> list[dict[str, Any]]:
        """Return the answer to a question about several things; see `get`."""
        answer = self._get(target)
        if not isinstance(answer, list) or not all(isinstance(a, dict) for a in answer):
            raise self._not_understood()
        return answer

    def text_of(self, answer: _Answer, render: Callable[[_Answer], str]) -> str:
        """Return an answer as text for people.

        :param render: returns the text of an answer of devlxd.
        :raises NoServiceError: if the answer is of another shape.
        """
        try:
            return render(answer)
        except _WRONG_SHAPE:
            raise self._not_understood() from None

    def lines(self, target: str) -> Iterator[bytes]:
        """Return the lines of an answer without an end.

        The first item is empty: devlxd has accepted the question.

        :raises NoServiceError: if no devlxd answers, or a line is too long.
        :raises CommandError: if the answer is an error.
        """
        connection = _Connection(self._path)
        try:
            response = self._ask(connection, target)
            if response.status != http.client.OK:
                raise self._refusal(response)
            # Lines come when they come.
            connection.end_timeout()
            yield b""
            while line := response.readline(MAX_EVENT + 1):
                if len(line) > MAX_EVENT:
                    raise self._not_understood()
                yield line
        except http.client.IncompleteRead:
            return
        except (OSError, http.client.HTTPException) as error:
            raise NoServiceError(self._path, _reason(error)) from None
        finally:
            connection.close()

    def _get(self, target: str) -> object:
        connection = _Connection(self._path)
        try:
            response = self._ask(connection, target)
            if response.status != http.client.OK:
                raise self._refusal(response)
            return json.loads(self._body(response))
        except (ValueError, RecursionError):
            raise self._not_understood() from None
        except (OSError, http.client.HTTPException) as error:
            raise NoServiceError(self._path, _reason(error)) from None
        finally:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, target: str
    ) -> http.client.HTTPResponse:
        connection.request("GET", target, headers={"Accept": "application/json"})
        return connection.getresponse()

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        deadline = monotonic() + TIMEOUT
        pieces = []
        length = 0
        while body := response.read1(64 * 1024):
            pieces.append(body)
            length += len(body)
            if length > MAX_ANSWER:
                raise self._not_understood()
            if monotonic() > deadline:
                raise TimeoutError
        answer = b"".join(pieces)
        if response.length:
            raise http.client.IncompleteRead(answer, response.length)
        return answer

    def _refusal(self, response: http.client.HTTPResponse) -> CommandError:
        """Return the error for an answer that is not 200."""
        text = f"{response.status} {response.reason}"
        try:
            answer = json.loads(self._body(response))
            text = str(answer["error"])
        except (ValueError, RecursionError, LookupError, TypeError):
            pass
        if response.status == http.client.NOT_FOUND:
            return NotFoundError(text)
        return CommandError(text)

    def _not_understood(self) -> NoServiceError:
        return NoServiceError(self._path, "the answer is not one of devlxd")


def _reason(error: OSError | http.client.HTTPException) -> str:
    """Return why no devlxd answers."""
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "the answer is not HTTP"
