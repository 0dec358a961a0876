# -*- test-case-name: tests.admin.test_options -*-
"""The options of ``twistd devlxd`` for the operator's socket."""

from __future__ import annotations

from collections.abc import Collection

from twisted.python import usage

from devlxd.admin.endpoint import AdminEndpoint


class AdminOptions(usage.Options):
    """The option ``--admin``, which may be repeated."""

    def __init__(self) -> None:
        super().__init__()
        self["admin"] = []

    def opt_admin(self, value: str) -> None:
        """Add an endpoint; the help text is below."""
        try:
            self["admin"].append(AdminEndpoint.parse(value))
        except ValueError as error:
            raise usage.UsageError(f"--admin: {error}") from None

    opt_admin.__doc__ = (
        "ENDPOINT for operators; may be repeated. ENDPOINT is a path as for --listen, "
        "or unix:PATH:mode=MODE, with the mode 600 by default, or tcp:PORT, on the "
        "loopback interface by default. At a TCP port every local user can read the "
        "metrics and the page, but nothing else is served there. [default: none]"
    )

    def check_admin(self, taken: Collection[str]) -> None:
        """Check the endpoints.

        :param taken: the addresses of the endpoints for guests.
        :raises UsageError: if devlxd cannot listen on one of them.
        """
        checked = set(taken)
        for at in self["admin"]:
            try:
                address = at.check()
            except ValueError as error:
                raise usage.UsageError(f"--admin: {at.typed}: {error}") from None
            if address in checked:
                raise usage.UsageError(f"--admin: {at.typed} is given twice")
            checked.add(address)
