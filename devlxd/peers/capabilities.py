# -*- test-case-name: tests.peers.test_capabilities -*-
"""Which capabilities finding a caller needs (``capabilities(7)``)."""

from __future__ import annotations

import re
from pathlib import Path

#: From <linux/capability.h>.
_CAP_SYS_PTRACE = 19

_STATUS = Path("/proc/self/status")


def check_may_identify(status: Path = _STATUS) -> None:
    """Check that this process may look at the namespaces of other users' processes.

    The kernel lets it follow the links in ``/proc/PID/ns`` of any process if
    it has ``CAP_SYS_PTRACE`` (``ptrace(2)``, "Ptrace access mode checking").
    To be root without that capability is not enough: a guest may have ids and
    capabilities that this process has not. To try it out on some process would
    tell less, as it depends on the process.

    :param status: what ``proc_pid_status(5)`` describes, of this process.
    :raises PermissionError: when it may not; the text is one line that says
        which capability is missing.
    """
    effective = re.search(r"^CapEff:\t([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    if effective is None or not int(effective[1], 16) & 1 << _CAP_SYS_PTRACE:
        raise PermissionError(
            "CAP_SYS_PTRACE is missing: without it no guest can be told from "
            "another; run devlxd as root, or give it that capability"
        )
