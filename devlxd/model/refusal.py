# -*- test-case-name: tests.test_model -*-
"""The reasons for which devlxd refuses connections and requests."""

from __future__ import annotations

import enum


class Refusal(enum.Enum):
    """Why a connection or a request is refused; the value is a text for operators."""

    #: The peer was not identified, or there is no container of its name.
    NOT_IN_CONTAINER = "not in a container"

    #: The API is switched off for the container.
    SWITCHED_OFF = "switched off"

    #: The user is not root of the container, and not permitted by its config.
    NOT_PERMITTED = "user not permitted"

    #: The container has too many connections.
    TOO_MANY_CONNECTIONS = "too many connections"
