"""A program in a guest: it greets, and follows changes of the greeting.

Run it in a container as ``python3 guest_program.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react

from devlxd.client import Guest, IGuest, Lost, NotFound

KEY = "user.greeting"


async def run(guest: IGuest, greet: Callable[[str], object]) -> None:
    """Report that the guest is ready, and greet with each new greeting.

    :param greet: called with the greeting.
    """
    await greeting(guest, greet)
    await guest.ready()
    async for event in guest.events(["config"]):
        if isinstance(event, Lost) or event.metadata["key"] == KEY:
            await greeting(guest, greet)


async def greeting(guest: IGuest, greet: Callable[[str], object]) -> None:
    """Greet with the present greeting."""
    try:
        greet(await guest.get(KEY))
    except NotFound:
        greet("hello")


def main(reactor: IReactorTime) -> Deferred[None]:
    """Run the program until it is interrupted."""
    return ensureDeferred(
        run(Guest(reactor), lambda text: sys.stdout.write(f"{text}\n"))
    )


if __name__ == "__main__":
    react(main)
