# -*- test-case-name: tests.guestapi.test_gate -*-
"""The gate: a caller that may not ask learns nothing, not even which paths exist."""

from __future__ import annotations

from twisted.web import http

from devlxd.booleans import is_false
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.snapshot_responses import NOT_IN_CONTAINER
from devlxd.httpserver.responses import Response, refusal
from devlxd.model import Caller, Container


def is_switched_off(container: Container, switch: str) -> bool:
    """Return whether the config key ``switch`` is false; it is true by default."""
    return is_false(container.config.get(switch, ""))


def allowed_uids(container: Container, permissions: str) -> frozenset[str]:
    """Return the users, besides root, that the key ``PERMISSIONS.uids`` permits.

    :return: its comma-separated values: uids as seen in the container, or ``*``.
    """
    uids = container.config.get(f"{permissions}.uids", "")
    return frozenset(uid.strip() for uid in uids.split(","))


class Gate:
    """Decides which callers may ask, by the rules of a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._not_root = refusal(http.UNAUTHORIZED, dialect.not_root)
        self._not_authorized = refusal(http.FORBIDDEN, dialect.not_authorized)

    def refusal(
        self, caller: Caller | None, container: Container | None
    ) -> Response | None:
        """Return the response for a caller that may not ask.

        :param caller: ``None`` if it was not identified.
        :param container: the present snapshot of its container, if there is one.
        :return: ``None`` if it may ask.
        """
        if caller is None or container is None:
            return NOT_IN_CONTAINER
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
