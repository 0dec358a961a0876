"""Adds the command ``devlxd`` to twistd, which imports it when it is used."""

from twisted.application.service import ServiceMaker

devlxd = ServiceMaker(
    "devlxd",
    "devlxd.tap",
    "The guest API of LXD, /dev/lxd/sock, for the containers of this host.",
    "devlxd",
)
