# -*- test-case-name: tests.guestapi.test_image_export -*-
"""The images that guests may download, and how many downloads are running."""

from __future__ import annotations

from collections import Counter
from time import sleep

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.loglimit import RateLimitedLogger

#: How many downloads one container may have at a time.
MAX_DOWNLOADS = 4

#: How long it takes until a guest is told that an image is not there, in seconds:
#: longer than it takes to find out why.
MISS_DELAY = 0.1

#: For how much of that a thread waits, in seconds.
LEAD = 0.002


class Downloads:
    """Opens images, and counts downloads.

    :param store: the images.
    :param reactor: for the time, and its threads.
    :param most: how many downloads one container may have at a time.
    """

    _log = Logger()

    def __init__(
        self, store: IImageStore, reactor: IDevLXDReactor, most: int = MAX_DOWNLOADS
    ) -> None:
        self._store = store
        self._reactor = reactor
        self._most = most
        self._running: Counter[str] = Counter()
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def begin(self, container: str) -> bool:
        """Count a download; return whether the container may have it."""
        if self._running[container] >= self._most:
            return False
        self._running[container] += 1
        return True

    def end(self, container: str) -> None:
        """Count a download no more."""
        self._running[container] -= 1
        if not self._running[container]:
            del self._running[container]

    async def open(self, fingerprint: str) -> IOpenImage | None:
        """Open an image; see `IImageStore.open`.

        It always takes the same time until ``None`` is returned, so that a guest
        cannot find out which images the host has.

        :raises ImageError: if the image cannot be read.
        """
        missed_at = self._reactor.seconds() + MISS_DELAY
        opened = await self._store.open(fingerprint)
        if opened is None:
            await self._wait_until(missed_at)
        return opened

    async def _wait_until(self, at: float) -> None:
        """Wait until a time, exactly.

        The reactor waits whole milliseconds from when it was last busy, so that
        the time it was busy would show in the last digits. A thread waits for the
        rest.
        """
        # Bounded, in case the clock is set.
        left = min(max(at - LEAD - self._reactor.seconds(), 0), MISS_DELAY)
        await deferLater(self._reactor, left)
        left = min(max(at - self._reactor.seconds(), 0), LEAD)
        await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), sleep, left
        )

    def log_failure(self, fingerprint: str, error: ImageError) -> None:
        """Log why an image cannot be read."""
        self._limited_log.warn(
            "image {fingerprint}: {reason}",
            of=fingerprint,
            fingerprint=fingerprint,
            reason=str(error),
        )
