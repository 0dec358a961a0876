"""devlxd: the guest API of LXD, ``/dev/lxd/sock``, as a Twisted service.

``devlxd.service`` is what a host agent embeds, ``devlxd.interfaces`` is what
it may provide, ``devlxd.testing`` is for its tests.
"""

__version__ = "0.1.0"
