# -*- test-case-name: tests.test_tap -*-
"""``twistd devlxd``: from the options to a service.

This is the only module that imports the reactor. twistd finds `Options` and
`makeService` here (``twisted/plugins/devlxd_plugin.py``).
"""

from __future__ import annotations

import resource
import sys
from typing import cast

from twisted.application.service import IService
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorCore

from devlxd import __version__
from devlxd.assembly import Assembly, used_directories, warn_of_closed_directories
from devlxd.demo import DemoService
from devlxd.host.garbage_collection import disable_gc_until
from devlxd.host.monotonic_clock import use_monotonic_clock
from devlxd.host.process_service import ProcessService
from devlxd.host.startup import log_checks, run_checks
from devlxd.host.stdout import nonblocking
from devlxd.interfaces import IDevLXDReactor
from devlxd.options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """See `IServiceMaker.makeService`; also prepare the process."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 # twistd chose it

    reactor = cast(IDevLXDReactor, installed)
    use_monotonic_clock(cast(ReactorBase, installed))
    # With -n, twistd logs to sys.stdout.
    sys.stdout = nonblocking(sys.stdout)
    _raise_file_limit()
    if options["demo"]:
        return _demo_service(reactor, cast(IReactorCore, installed))
    return _process_service(options, reactor)


def _process_service(options: Options, reactor: IDevLXDReactor) -> ProcessService:
    """Build the services of this process, and check the host."""
    warn_of_closed_directories(options)
    assembly = Assembly(options, reactor)
    disable_gc_until(assembly.loaded())
    log_checks(__version__, run_checks(used_directories(options)))
    return assembly.service


def _demo_service(reactor: IDevLXDReactor, core: IReactorCore) -> IService:
    """Build the demo, which stops when its terminal is closed (``SIGHUP``)."""
    service = ProcessService(
        reactor,
        acquire_locks=_do_nothing,
        check_privileges=_do_nothing,
        on_hangup=core.stop,
    )
    DemoService(reactor).setServiceParent(service)
    return service


def _do_nothing() -> None:
    """Do nothing: the demo has no state, and identifies no callers."""


def _raise_file_limit() -> None:
    """Raise the soft limit of open files, which is usually low, to the hard limit."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
