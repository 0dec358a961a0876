# -*- test-case-name: tests.containers.test_etcd_store -*-
"""How a store that follows a remote source agrees with it."""

from __future__ import annotations

from attrs import frozen


@frozen
class SourceState:
    """The state of a remote source of containers.

    :ivar source: its name, such as ``etcd:/devlxd/h1/``.
    :ivar is_answering: whether it answers.
    :ivar age: when the served containers were last known to agree with it, in seconds
        before now; ``None`` if they never were.
    :ivar problem: why it does not answer, in one line; empty if it does, or has not
        been asked yet.
    """

    source: str
    is_answering: bool
    age: float | None
    problem: str = ""
