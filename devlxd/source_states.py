# -*- test-case-name: tests.test_source_states -*-
"""What operators read of the remote source of a store."""

from __future__ import annotations

from devlxd.interfaces import IContainerStore, IRemoteStore
from devlxd.model import SourceState
from devlxd.timestamps import duration_text


def source_state(store: IContainerStore) -> SourceState | None:
    """Return the state of the source of a store; ``None`` if it has no remote one."""
    remote: IRemoteStore | None = IRemoteStore(store, None)
    return None if remote is None else remote.source_state()


def source_text(state: SourceState) -> str:
    """Return the state of a source in one line."""
    if state.is_answering:
        return f"{state.source} answers, {_age_text(state)}"
    if not state.problem:
        return f"{state.source} is being asked, {_age_text(state)}"
    return f"{state.source} does not answer ({state.problem}), {_age_text(state)}"


def _age_text(state: SourceState) -> str:
    if state.age is None:
        return "nothing is known of it"
    return f"what is served is {duration_text(state.age)} old"
