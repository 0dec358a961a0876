# -*- test-case-name: tests.guestapi.test_gate -*-
"""The gate: refuses callers without permission, before any path is looked up."""

from __future__ import annotations

from twisted.web import http

from devlxd.booleans import is_false
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.snapshot_responses import NOT_IN_CONTAINER
from devlxd.httpserver.responses import Response, refusal
from devlxd.model import Caller, Container, Refusal


def is_switched_off(container: Container, switch: str) -> bool:
    """Return whether the config key ``switch`` is false; a missing key is not false."""
    return is_false(container.config.get(switch, ""))


def allowed_uids(container: Container, key: str) -> frozenset[str]:
    """Return the users, besides root, that the config key ``key`` permits.

    :return: the comma-separated parts of the value: uids as seen in the container, or
        ``*`` for all users.
    """
    uids = container.config.get(key, "")
    return frozenset(uid.strip() for uid in uids.split(","))


class Gate:
    """The check whether a caller may use one dialect of the API."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._responses = {
            Refusal.NOT_IN_CONTAINER: NOT_IN_CONTAINER,
            Refusal.SWITCHED_OFF: refusal(http.FORBIDDEN, dialect.not_authorized),
            Refusal.NOT_PERMITTED: refusal(http.UNAUTHORIZED, dialect.not_root),
        }

    def refusal(
        self, caller: Caller | None, container: Container | None
    ) -> Refusal | None:
        """Return why a caller has no permission.

        :param caller: ``None`` if the caller was not identified.
        :param container: the current snapshot of the caller's container; ``None`` if
            there is no such container.
        :return: ``None`` if the caller may use the API.
        """
        if caller is None or container is None:
            return Refusal.NOT_IN_CONTAINER
        if is_switched_off(container, self._dialect.switch):
            return Refusal.SWITCHED_OFF
        if not self._is_permitted(caller.uid, container):
            return Refusal.NOT_PERMITTED
        return None

    def may_differ(self, old: Container, new: Container) -> bool:
        """Return whether a caller may have a permission in only one of two snapshots.

        Both are of one container, and whether a caller is in it makes no difference.
        """
        keys = self._dialect.switch, self._dialect.uids_key
        return any(old.config.get(key) != new.config.get(key) for key in keys)

    def response_to(self, refusal: Refusal) -> Response:
        """Return the response to a caller without permission."""
        return self._responses[refusal]

    def _is_permitted(self, uid: int | None, container: Container) -> bool:
        if uid == 0:
            return True
        allowed = allowed_uids(container, self._dialect.uids_key)
        return "*" in allowed or (uid is not None and str(uid) in allowed)
