"""Makes calls by three clients of the guest API: runs in a guest.

``python3 client_calls.py SOCKET CALLS`` makes each call three times: by the ``devlxd``
command, and by both faces of the library. SOCKET may be empty: then the clients look
for it. CALLS is JSON: a list of words of the command, a method, and its arguments. It
prints a list with three results for each call, see `Result`.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react

from devlxd.client import Event, Guest, GuestError
from devlxd.client.sync import Guest as SyncGuest

#: The words that stand for the name of a new file in a call.
FILE = "FILE"

#: What a client returned: ``value``, or the name of the exception as ``error`` and its
#: ``text``. Of the command it is ``status``, and ``text`` is its stderr.
Result = dict[str, Any]

DEVLXD = str(Path(sys.executable).with_name("devlxd"))


def succeeded(value: object, directory: str) -> Result:
    """Return the result for a value; of an image its files and their SHA-256."""
    if isinstance(value, Event):
        value = json.loads(value.to_json())
    if isinstance(value, Mapping) and "files" in value:
        value = value["files"]
    if isinstance(value, tuple):
        value = [str(path) for path in value]
    if isinstance(value, list):
        value = {
            str(Path(name).relative_to(directory)): hashlib.sha256(
                Path(name).read_bytes()
            ).hexdigest()
            for name in value
        }
    return {"value": value}


def run_command(socket: str, words: list[str], directory: str) -> Result:
    """Run the command."""
    words = [f"{directory}/image" if word == FILE else word for word in words]
    options = ["--json", f"--socket={socket}"] if socket else ["--json"]
    process = subprocess.Popen(
        [DEVLXD, *words, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    if words == ["events"] and (line := process.stdout.readline()):
        process.send_signal(signal.SIGINT)
        process.communicate()
        return {"status": process.returncode, "value": json.loads(line)}
    out, err = process.communicate()
    found = {"status": process.returncode, "text": err.decode()}
    if process.returncode:
        return {**found, "stdout": out.decode()}
    return {**found, **succeeded(json.loads(out or b"null"), directory)}


def arguments_of(arguments: list[str], directory: str) -> list[str]:
    """Return the arguments of a method, with the name of the new file."""
    return [f"{directory}/image" if word == FILE else word for word in arguments]


def run_sync(socket: str, method: str, arguments: list[str], directory: str) -> Result:
    """Call a method of the synchronous face."""
    guest = SyncGuest(socket or None)
    call: Callable[..., Any] = getattr(guest, method)
    try:
        value = call(*arguments_of(arguments, directory))
        if method == "events":
            with closing(value) as events:
                value = next(events)
    except GuestError as error:
        return {"error": type(error).__name__, "text": str(error)}
    return succeeded(value, directory)


async def run_async(
    reactor: IReactorTime,
    socket: str,
    method: str,
    arguments: list[str],
    directory: str,
) -> Result:
    """Call a method of the face for Twisted."""
    guest = Guest(reactor, socket or None)
    call: Callable[..., Any] = getattr(guest, method)
    try:
        value = call(*arguments_of(arguments, directory))
        if method == "events":
            events, value = value, await anext(value)
            await events.aclose()
        else:
            value = await value
    except GuestError as error:
        return {"error": type(error).__name__, "text": str(error)}
    return succeeded(value, directory)


async def make_calls(
    reactor: IReactorTime, socket: str, calls: list[tuple[list[str], str, list[str]]]
) -> None:
    """Make all calls, and print the results."""
    results = []
    for words, method, arguments in calls:
        with tempfile.TemporaryDirectory() as directory:
            by_command = run_command(socket, words, directory)
        with tempfile.TemporaryDirectory() as directory:
            by_async = await run_async(reactor, socket, method, arguments, directory)
        with tempfile.TemporaryDirectory() as directory:
            by_sync = run_sync(socket, method, arguments, directory)
        results.append([by_command, by_async, by_sync])
    sys.stdout.write(json.dumps(results))


def main(reactor: IReactorTime) -> Deferred[None]:
    """Make the calls of the command line."""
    socket, calls = sys.argv[1:]
    return ensureDeferred(make_calls(reactor, socket, json.loads(calls)))


if __name__ == "__main__":
    react(main)
