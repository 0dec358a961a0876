# -*- test-case-name: tests.peers.test_identifier -*-
"""Descriptions of refused peers, for the log."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from devlxd.interfaces import IProcessTable, NotInContainer
from devlxd.model import Claim, Peer
from devlxd.peers.cgroup_claims import CgroupClaims
from devlxd.printable_text import printable_ascii

#: The fact that a peer has ended.
_HAS_ENDED = "has ended"


def describe_refusal(
    peer: Peer, error: Exception, processes: IProcessTable, claims: CgroupClaims
) -> NotInContainer:
    """Return ``error`` with a description of the refused peer, for the log.

    :param error: the reason for the refusal.
    :return: an exception. Its text and its facts contain the pid, uid, command and
        cgroup of the peer, as far as the kernel still knows them. Its kind is a pair:
        the container or the top-level cgroup of the peer, and the kind of the reason.
    """
    owner, facts = _facts_of(peer, processes, claims)
    return NotInContainer(
        f"pid {peer.pid} ({_description(facts)}): {error}",
        (owner, _kind_of(error)),
        {"pid": peer.pid, **facts},
    )


def _kind_of(error: Exception) -> object:
    if isinstance(error, NotInContainer):
        return error.kind
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "error")
    return "id map"


def describe_peer(
    peer: Peer, processes: IProcessTable, claims: CgroupClaims
) -> tuple[str, str]:
    """Return the container or top-level cgroup of a peer, and a description of it.

    The description has the uid, command and cgroup of the peer.
    """
    owner, facts = _facts_of(peer, processes, claims)
    return owner, _description(facts)


def _description(facts: Mapping[str, str | int]) -> str:
    """Return ``uid 5, command sh, cgroup /x``."""
    return ", ".join(
        name if name == _HAS_ENDED else f"{name} {value}"
        for name, value in facts.items()
    )


def _facts_of(
    peer: Peer, processes: IProcessTable, claims: CgroupClaims
) -> tuple[str, Mapping[str, str | int]]:
    """Return the container or top-level cgroup of a peer, and printable facts."""
    uid: dict[str, str | int] = {"uid": peer.uid}
    ended = "", {**uid, _HAS_ENDED: 1}
    if peer.pidfd is None:
        return "", uid
    try:
        cgroups = processes.cgroups(peer.pid)
        name = processes.status(peer.pid).name
    except OSError:
        return ended
    if not cgroups or not processes.is_alive(peer.pidfd):
        return ended
    # Take the most specific path: that of a container, if there is one. In some
    # hierarchies the process may be in the root cgroup.
    cgroup = max(
        dict.fromkeys(cgroups),
        key=lambda cgroup: (bool(claims.of_cgroup(cgroup)), len(cgroup)),
    )
    claim = claims.of_cgroup(cgroup)
    owner = str(claim) if claim else "/".join(cgroup.split("/")[:2])
    return owner, {
        **uid,
        "command": printable_ascii(name),
        "cgroup": printable_ascii(cgroup),
    }


def origin_of(claim: Claim) -> str:
    """Return the runtime and the LXC path of a container, for the log."""
    runtime = claim.runtime or "an unknown runtime"
    return (
        f"{runtime} in {printable_ascii(claim.lxcpath)}" if claim.lxcpath else runtime
    )
