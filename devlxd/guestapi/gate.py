# -*- test-case-name: tests.guestapi.test_gate -*-
"""The gate: who may not ask learns nothing, not even which paths exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web import http
from twisted.web.resource import IResource, Resource

from devlxd.booleans import is_false
from devlxd.guestapi.base import Says
from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.responses import NOT_IN_CONTAINER, refusal
from devlxd.interfaces import IContainerStore
from devlxd.model import Caller, Container

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest


def is_switched_off(container: Container, switch: str) -> bool:
    """Tell whether the config key ``switch`` says no; unset means yes."""
    return is_false(container.config.get(switch, ""))


def allowed_uids(container: Container, permissions: str) -> frozenset[str]:
    """Return the users, besides root, that the key ``PERMISSIONS.uids`` lets ask.

    :return: what stands between its commas: uids as seen inside, or ``*``.
    """
    uids = container.config.get(f"{permissions}.uids", "")
    return frozenset(uid.strip() for uid in uids.split(","))


class Gate(Resource):
    """Stands before a tree of resources and lets through who may ask.

    Whoever passes has the present snapshot of its container as
    ``request.container``.
    """

    def __init__(
        self, dialect: Dialect, store: IContainerStore, tree: IResource
    ) -> None:
        super().__init__()
        self._dialect = dialect
        self._store = store
        self._tree = tree
        self._not_in_container = Says(NOT_IN_CONTAINER)
        self._not_root = Says(
            refusal(http.UNAUTHORIZED, "Access denied for non-root user")
        )
        self._not_authorized = Says(refusal(http.FORBIDDEN, dialect.not_authorized))

    def getChildWithDefault(self, path: bytes, request: GuestRequest) -> IResource:
        """Find the resource for ``path``, or the refusal for this caller."""
        caller = request.caller
        container = self._store.get(caller.container) if caller else None
        if caller is None or container is None:
            return self._not_in_container
        refusal = self.refusal_for(caller, container)
        if refusal is not None:
            return refusal
        request.container = container
        resource: IResource = self._tree.getChildWithDefault(path, request)
        return resource

    def refusal_for(self, caller: Caller, container: Container) -> IResource | None:
        """Return what a caller of ``container`` is told who may not ask."""
        if is_switched_off(container, self._dialect.switch):
            return self._not_authorized
        if not self._may_ask(caller.uid, container):
            return self._not_root
        return None

    def _may_ask(self, uid: int | None, container: Container) -> bool:
        if uid == 0:
            return True
        allowed = allowed_uids(container, self._dialect.permissions)
        return "*" in allowed or (uid is not None and str(uid) in allowed)
