# -*- test-case-name: tests.admin.test_actions -*-
"""``/why`` and ``/reload``."""

from __future__ import annotations

import re

from twisted.web import http

from devlxd.admin.operation import Operation
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminError, AdminResponse, json_response
from devlxd.model import Explanation, Result

#: The form of a pid; the kernel's greatest one has 22 bits (``proc_sys_kernel(5)``).
_PID = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)


class WhyResource(AdminResource):
    """``/why?pid=N``: how a process would be identified, and where that fails."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        pid = request.argument("pid")
        if not _PID.fullmatch(pid):
            raise AdminError(http.BAD_REQUEST, "pid must be a process id")
        explanations = [
            guests.service.explain(int(pid)) for guests in self._operation.guests
        ]
        explanation = max(explanations, key=_progress)
        return json_response(
            {
                "pid": explanation.pid,
                "steps": [
                    {
                        "check": step.check,
                        "result": step.result.value,
                        "detail": step.detail,
                    }
                    for step in explanation.steps
                ],
                "container": explanation.container,
                "refused": explanation.refused,
            }
        )


def _progress(explanation: Explanation) -> tuple[bool, bool, int]:
    """Return how far an identification came: the process may be of any directory."""
    passed = sum(step.result is Result.PASSED for step in explanation.steps)
    is_identified = explanation.container is not None
    return is_identified and explanation.refused is None, is_identified, passed


class ReloadResource(AdminResource):
    """``POST /reload``: read the documents and the configuration again."""

    methods = ("POST",)

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`.

        No browser sends this request: it has no ``Origin``. A mistake in the
        configuration is a 409; the documents are read again all the same.
        """
        if request.header("Origin") is not None:
            raise AdminError(http.FORBIDDEN, "not from a browser")
        reloaded = self._operation.reload()
        if reloaded.problem:
            raise AdminError(http.CONFLICT, reloaded.problem)
        return json_response(
            {
                "changed": list(reloaded.changed),
                "needs_restart": list(reloaded.needs_restart),
            }
        )
