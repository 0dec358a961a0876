# -*- test-case-name: tests -*-
"""A reactor in memory, with all that devlxd needs of one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.testing import MemoryReactorClock
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from devlxd.interfaces import (
    IDevLXDReactor,
)


class MemoryThreadPool(ThreadPool):
    """Does what it is given in no thread at all.

    :ivar held: whether that waits until `release` is called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self._waiting: list[Callable[[], None]] = []

    # What there is for a result depends on the function, or is a Failure.
    def callInThreadWithCallback(  # type: ignore[override]
        self,
        onResult: Callable[[bool, object], None] | None,
        func: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> None:
        """See `ThreadPool.callInThreadWithCallback`."""

        def work() -> None:
            try:
                result, succeeded = func(*args, **kw), True
            except Exception:
                result, succeeded = Failure(), False
                if onResult is None:
                    log.err(result)
            if onResult is not None:
                onResult(succeeded, result)

        self._waiting.append(work)
        if not self.held:
            self.release()

    def release(self) -> None:
        """Do what waits to be done."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


@implementer(IDevLXDReactor)
class MemoryDevLXDReactor(MemoryReactorClock):
    """A reactor in memory, with all that devlxd needs of one.

    :ivar threads: its threads, of which there are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threads = MemoryThreadPool()

    def getThreadPool(self) -> ThreadPool:
        """See `IReactorThreads.getThreadPool`."""
        return self.threads

    def callInThread(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """See `IReactorInThreads.callInThread`."""
        self.threads.callInThread(callable, *args, **kwargs)

    def callFromThread(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """See `IReactorFromThreads.callFromThread`."""
        callable(*args, **kwargs)

    def suggestThreadPoolSize(self, size: int) -> None:
        """See `IReactorThreads.suggestThreadPoolSize`."""
