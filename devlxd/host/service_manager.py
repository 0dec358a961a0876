# -*- test-case-name: tests.host.test_service_manager -*-
"""What the service manager has passed to this process, from its environment."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence

from attrs import frozen

from devlxd.host.handover_store import NAME, SystemdHandoverStore
from devlxd.host.notifier import NullNotifier, SystemdNotifier
from devlxd.host.notify_socket import NotifySocket
from devlxd.host.private_apis import inherited_descriptors
from devlxd.interfaces import IHandoverStore, INotifier


@frozen
class ServiceManager:
    """The ways to reach the manager of this process.

    :ivar notifier: tells it the state of this process.
    :ivar store: keeps connections; ``None`` if there is no manager.
    """

    notifier: INotifier
    store: IHandoverStore | None


def take_service_manager(
    environment: MutableMapping[str, str],
    descriptors: Sequence[int] | None = None,
) -> ServiceManager:
    """Return the service manager that the environment names.

    Its variables are removed from the environment, so that child processes do not
    mistake them for theirs, and the descriptors are not passed on to these.

    :param descriptors: the file descriptors that the manager has passed; default:
        those of this process.
    """
    if descriptors is None:
        descriptors = inherited_descriptors()
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    watchdog = _take_watchdog(environment)
    address = environment.pop("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return ServiceManager(NullNotifier(), None)
    # By their names: systemd does not promise the order of stored descriptors.
    stored = [
        descriptor
        for descriptor, name in zip(descriptors, names, strict=False)
        if name == NAME
    ]
    manager = NotifySocket(address)
    return ServiceManager(
        SystemdNotifier(manager, watchdog), SystemdHandoverStore(manager, stored)
    )


def _take_watchdog(environment: MutableMapping[str, str]) -> float:
    """Return the timeout of the watchdog of this process, in seconds; 0 for none.

    See ``sd_watchdog_enabled(3)``.
    """
    pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
    microseconds = environment.pop("WATCHDOG_USEC", "")
    if pid != str(os.getpid()) or not microseconds.isdecimal():
        return 0.0
    return int(microseconds) / 1e6
