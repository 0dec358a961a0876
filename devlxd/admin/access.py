# -*- test-case-name: tests.admin.test_access -*-
"""Which requests are answered on TCP endpoints.

Any page that an operator's browser shows can send requests to ports of this host. If
its author lets the name of the page's host point to a loopback address (DNS
rebinding), the page can even read the responses. Such requests have the author's name
in their ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
import socket

#: The form of a ``Host`` header: a name or IPv4 address, or an IPv6 address in
#: brackets, and a port (RFC 9110, section 7.2).
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/\s]+))(?::\d*)?", re.ASCII)


def is_own_host(header: str, address: str) -> bool:
    """Return whether a ``Host`` header names this host.

    No name is looked up: only ``localhost``, the name of this host, loopback addresses
    and the address of the connection name it.

    :param header: the value of the header.
    :param address: the local address of the connection.
    """
    match = _HOST.fullmatch(header)
    if match is None:
        return False
    name = (match[1] or match[2]).lower()
    if name in ("localhost", socket.gethostname().lower()):
        return True
    try:
        host = ipaddress.ip_address(name)
    except ValueError:
        return False
    # An IPv6 socket has connections of IPv4, too.
    return host.is_loopback or str(host) == address.removeprefix("::ffff:")
