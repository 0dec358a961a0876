# -*- test-case-name: tests.peers.test_identifier -*-
"""Confirmed claim -> container: the document that describes a run's container."""

from __future__ import annotations

import os

from devlxd.interfaces import IContainerStore, NotInContainer
from devlxd.model import Claim, Container


def container_of(claim: Claim, store: IContainerStore) -> Container:
    """Return the container of a confirmed claim, from the store.

    :raises NotInContainer: if the store does not have it, or its document
        describes another container of the same name.
    """
    container = store.get(claim.name) if claim.name else store.by_id(claim.id)
    if container is None:
        raise NotInContainer(
            f"container {claim} is not in the store", "not in the store"
        )
    if claim.name and container.id:
        raise NotInContainer(
            f"the document of {claim} is for a container with an id", "has an id"
        )
    if not describes(container, claim):
        raise NotInContainer(
            f"the document of {container.name} is for a container of "
            f"{container.runtime or 'any runtime'} in "
            f"{container.lxcpath or 'any path'}, this one is of "
            f"{claim.runtime or 'an unknown runtime'} in "
            f"{claim.lxcpath or 'an unknown path'}",
            "another runtime",
        )
    return container


def describes(container: Container, claim: Claim) -> bool:
    """Return whether the document of ``container`` may be for that of ``claim``."""
    return (
        container.id == claim.id
        and container.runtime in ("", claim.runtime)
        and (
            not container.lxcpath
            or os.path.normpath(container.lxcpath) == os.path.normpath(claim.lxcpath)
        )
    )
