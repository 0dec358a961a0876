"""A Twisted plugin that tells devlxd about the containers of another runtime.

The runtime of this example starts the container NAME in the cgroup ``/jails/NAME``.
A Twisted plugin is a module in a directory ``twisted/plugins`` that has no
``__init__.py``, with the parent of ``twisted`` in ``sys.path``.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from devlxd.interfaces import IRuntime
from devlxd.model import Claim, is_container_name


@implementer(IPlugin, IRuntime)
class JailRuntime:
    """A runtime whose containers are in the cgroups ``/jails/NAME``."""

    #: Documents select this runtime with ``runtime: jails``.
    name = "jails"

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`.

        Only the first two components count: a guest chooses what is below.
        """
        _, jails, name = f"{cgroup}//".split("/")[:3]
        return (
            Claim(name=name) if jails == "jails" and is_container_name(name) else None
        )


jails = JailRuntime()
