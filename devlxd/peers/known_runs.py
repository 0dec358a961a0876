# -*- test-case-name: tests.peers.test_known_runs -*-
"""Peer -> run, without the walk through ``/proc``, once its cgroups are known.

The walk is made for the first peer in each cgroup of a run. ``docs/security.rst`` says
why the same is checked for the next ones.
"""

from __future__ import annotations

from collections.abc import Hashable

from devlxd.fast_paths import FastPath, is_on
from devlxd.interfaces import IProcessTable
from devlxd.model import Peer
from devlxd.peers.runs import Run, RunRegistry


class KnownRuns:
    """The runs of those peers whose cgroups are known.

    :param processes: the processes of the host.
    :param runs: the known runs.
    """

    def __init__(self, processes: IProcessTable, runs: RunRegistry) -> None:
        self._processes = processes
        self._runs = runs
        self._is_on = is_on(FastPath.CALLERS)

    def run_of(self, peer: Peer) -> Run | None:
        """Return the run that a peer belongs to.

        :return: ``None`` if this is not known. The peer may be in a container or not,
            or may have ended.
        """
        if peer.pidfd is None or not self._is_on:
            return None
        namespaces = self._runs.namespaces
        try:
            cgroups = self._processes.cgroup_key(peer.pid, peer.pidfd)
            # This fails if the peer has ended. Otherwise its pid was not used again.
            namespace = self._processes.namespace_among(peer.pidfd, namespaces)
        except OSError:
            return None
        # The run is examined last. If it has not ended, the number of its namespace
        # was that of no other namespace when the peer was examined.
        run = self._runs.known(namespace) if namespace is not None else None
        return run if run is not None and cgroups in run.cgroups else None

    def cgroups_of(self, peer: Peer) -> Hashable:
        """Return the key of the cgroups of a peer, for `remember`.

        :return: ``None`` if nothing is to be remembered.
        """
        if peer.pidfd is None or not self._is_on:
            return None
        try:
            return self._processes.cgroup_key(peer.pid, peer.pidfd)
        except OSError:
            return None

    def remember(self, peer: Peer, cgroups: Hashable, run: Run) -> None:
        """Remember the cgroups of a peer that was identified by all checks.

        Do nothing if it was in other cgroups before the checks than it is now.

        :param cgroups: what `cgroups_of` has returned before the checks.
        :param run: the run of the peer.
        """
        if cgroups is not None and cgroups == self.cgroups_of(peer):
            run.cgroups.add(cgroups)
