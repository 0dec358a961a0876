"""A program that asks servers one after the other, and says what has come of it.

Its arguments are the face and the call; on standard input is a JSON object of sockets
with timeouts in seconds. It prints one with ``outcomes``, the name of the exception for
each socket, and ``peak``, the largest size of the process in MiB.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react

from devlxd.client import Guest, image_download, sync

#: The largest file that may be written, in bytes.
MAX_FILE = 100 * 1024 * 1024

FINGERPRINT = "0" * 64


def peak() -> float:
    """Return the largest size that the process has had, in MiB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def arguments(call: str, directory: str) -> Sequence[str]:
    """Return the arguments for a call."""
    return {
        "get": ["user.a"],
        "device": ["eth0"],
        "image": [FINGERPRINT, f"{directory}/image"],
    }.get(call, [])


def adapt_image(timeout: float) -> None:
    """Set the times of an image, which are longer than a test should take."""
    image_download.SILENCE = min(timeout, 5)  # type: ignore[assignment] # a fraction
    image_download.PATIENCE = min(timeout, 5)  # type: ignore[assignment] # a fraction


def ask_all(call: str, sockets: Mapping[str, float], directory: str) -> dict[str, str]:
    """Ask all servers by the synchronous face; return what has come of it."""
    outcomes = {}
    for path, timeout in sockets.items():
        adapt_image(timeout)
        guest = sync.Guest(path, timeout)
        try:
            if call == "events":
                with guest.events() as events:
                    result = next(events)
            else:
                result = getattr(guest, call)(*arguments(call, directory))
            outcomes[path] = f"returned {result!r:.80}"
        except Exception as error:  # whatever there is
            outcomes[path] = type(error).__name__
    return outcomes


async def ask_all_async(
    reactor: IReactorTime, call: str, sockets: Mapping[str, float], directory: str
) -> dict[str, str]:
    """Ask all servers by the face for Twisted; return what has come of it."""
    outcomes = {}
    for path, timeout in sockets.items():
        adapt_image(timeout)
        guest = Guest(reactor, path, timeout)
        try:
            if call == "events":
                async with aclosing(guest.events()) as events:
                    result = await events.__anext__()
            else:
                result = await getattr(guest, call)(*arguments(call, directory))
            outcomes[path] = f"returned {result!r:.80}"
        except Exception as error:  # whatever there is
            outcomes[path] = type(error).__name__
    return outcomes


def main() -> None:
    """Ask all servers, and print what has come of it."""
    face, call = sys.argv[1:]
    sockets = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory:
        if face == "sync":
            outcomes.update(ask_all(call, sockets, directory))
        else:

            def run(reactor: IReactorTime) -> Deferred[None]:
                asking = ask_all_async(reactor, call, sockets, directory)
                return Deferred.fromCoroutine(asking).addCallback(outcomes.update)

            with suppress(SystemExit):
                react(run, [])
    json.dump({"outcomes": outcomes, "peak": peak()}, sys.stdout)


if __name__ == "__main__":
    main()
