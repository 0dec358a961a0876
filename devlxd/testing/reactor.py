# -*- test-case-name: tests -*-
"""A reactor in memory, with all interfaces that devlxd uses."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.testing import MemoryReactorClock
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from devlxd.interfaces import IDevLXDReactor


class MemoryThreadPool(ThreadPool):
    """A thread pool without threads, which runs functions when they are submitted.

    :ivar held: whether functions are kept until `release` is called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self._pending: list[Callable[[], None]] = []

    # The result has the type that func returns, or is a Failure.
    def callInThreadWithCallback(  # type: ignore[override] # any result
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

        self._pending.append(work)
        if not self.held:
            self.release()

    def release(self) -> None:
        """Run the functions that were kept."""
        pending, self._pending = self._pending, []
        for work in pending:
            work()


@implementer(IDevLXDReactor)
class MemoryDevLXDReactor(MemoryReactorClock):
    """A reactor in memory, with all interfaces that devlxd uses.

    :ivar threads: its thread pool, which has no threads.
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
        """See `IReactorFromThreads.callFromThread`; calls immediately."""
        callable(*args, **kwargs)

    def suggestThreadPoolSize(self, size: int) -> None:
        """See `IReactorThreads.suggestThreadPoolSize`; does nothing."""
