# -*- test-case-name: tests.admin.test_site -*-
"""The base class of the resources of the operator's socket."""

from __future__ import annotations

from typing import ClassVar

from devlxd.admin.request import AdminRequest
from devlxd.admin.responses import AdminResponse


class AdminResource:
    """One path of the operator's socket.

    :cvar methods: the methods that it has.
    :cvar is_public: whether it is also served on TCP endpoints, where every local user
        can read it. There a response is used again for a second: it may depend only on
        the path and on the `variant`.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    is_public: ClassVar[bool] = False

    def respond(self, request: AdminRequest) -> AdminResponse | None:
        """Respond to a request with one of the `methods`.

        :return: the response; ``None`` if the resource sends it, now or later.
        :raises AdminError: to respond with an error.
        """
        raise NotImplementedError

    def variant(self, request: AdminRequest) -> str:
        """Return which of the representations of the resource is requested.

        :return: one of a few texts, whatever the request is.
        """
        return ""
