"""Tells twistd of the ``devlxd`` command; nothing of it is imported until then."""

from twisted.application.service import ServiceMaker

devlxd = ServiceMaker(
    "devlxd",
    "devlxd.tap",
    "The guest API of LXD, /dev/lxd/sock, for the containers of this host.",
    "devlxd",
)
