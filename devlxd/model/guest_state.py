# -*- test-case-name: tests.test_model -*-
"""What a guest says of itself."""

from __future__ import annotations

import enum


class GuestState(enum.Enum):
    """The guest state of a run of a container, with the values that guests send."""

    #: The run has begun. This is the state until the guest sets another one.
    STARTED = "Started"
    #: The guest has said that it is ready.
    READY = "Ready"
