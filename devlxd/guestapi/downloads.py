# -*- test-case-name: tests.guestapi.test_image_export -*-
"""The images that guests may download, and a limit on their downloads."""

from __future__ import annotations

from collections import Counter
from time import sleep

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger

#: How long it takes to respond that an image is not found, in seconds. Stores need
#: less time for that.
NOT_FOUND_DELAY = 0.1

#: The last part of `NOT_FOUND_DELAY`, in seconds. A thread waits for it instead of the
#: reactor, which is less precise.
LEAD = 0.002


class Downloads:
    """The images of a store, with a limit on the downloads of each container.

    :param store: the images.
    :param reactor: provides the time and a thread pool.
    :param limits: how many downloads one container may have; default: the usual number.
    """

    _log = Logger()

    def __init__(
        self,
        store: IImageStore,
        reactor: IDevLXDReactor,
        limits: CurrentLimits | None = None,
    ) -> None:
        self._store = store
        self._reactor = reactor
        self._limits = limits or CurrentLimits()
        self._running: Counter[str] = Counter()
        self._limited_log = RateLimitedLogger(self._log, reactor, self._limits)

    def begin(self, container: str) -> bool:
        """Count a new download; return ``False`` if the container has too many."""
        if self._running[container] >= self._limits.value.downloads:
            return False
        self._running[container] += 1
        return True

    def stop(self) -> None:
        """Log the numbers of suppressed lines; call this when no download runs."""
        self._limited_log.stop()

    def end(self, container: str) -> None:
        """Stop counting a download, which has ended."""
        self._running[container] -= 1
        if not self._running[container]:
            del self._running[container]

    async def open(self, fingerprint: str) -> IOpenImage | None:
        """Open an image; see `IImageStore.open`.

        ``None`` is always returned after `NOT_FOUND_DELAY`, so that a guest cannot find
        out which images the host has.

        :raises ImageError: if the image cannot be opened.
        """
        not_found_at = self._reactor.seconds() + NOT_FOUND_DELAY
        opened = await self._store.open(fingerprint)
        if opened is None:
            await self._wait_until(not_found_at)
        return opened

    async def _wait_until(self, at: float) -> None:
        """Wait until exactly the time ``at``.

        The reactor waits for whole milliseconds, counted from the end of its last work:
        from the time of the response, a guest could tell how long that work took.
        Therefore a thread waits for the last `LEAD` seconds.
        """
        # Both waits are limited, in case the system clock is set meanwhile.
        left = min(max(at - LEAD - self._reactor.seconds(), 0), NOT_FOUND_DELAY)
        await deferLater(self._reactor, left)
        left = min(max(at - self._reactor.seconds(), 0), LEAD)
        await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), sleep, left
        )

    def log_failure(self, container: str, fingerprint: str, error: ImageError) -> None:
        """Log why a download of an image by a container failed."""
        self._limited_log.warn(
            "a download of image {fingerprint} by {container} failed; devlxd ends it: "
            "{reason}",
            of=fingerprint,
            container=container,
            fingerprint=fingerprint,
            reason=str(error),
        )
