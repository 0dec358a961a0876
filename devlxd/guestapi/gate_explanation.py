# -*- test-case-name: tests.guestapi.test_gate_explanation -*-
"""What the gate of each dialect would say to a process that was explained."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.gate import Gate
from devlxd.interfaces import IContainerStore
from devlxd.model import Caller, Explanation, Refusal, Result, Step


def explain_gates(
    explanation: Explanation, store: IContainerStore, dialects: Iterable[Dialect]
) -> Explanation:
    """Add the checks of the gates to an explanation.

    There is one step for each dialect. The process is refused if all of them refuse it;
    if only some do, their steps have failed, and the process is not refused.

    :param explanation: how a process is identified. If it is not, no gate is asked.
    :param store: the containers.
    :param dialects: the dialects that are served.
    :return: the explanation with these steps.
    """
    if explanation.container is None:
        return explanation
    steps = tuple(
        _explain_gate(explanation, store, dialect)
        for dialect in sorted(set(dialects), key=lambda d: (d.rank, d.name))
    )
    refused = explanation.refused
    if steps and all(step.result is Result.FAILED for step in steps):
        refused = "; ".join(dict.fromkeys(step.detail for step in steps))
    return evolve(explanation, steps=explanation.steps + steps, refused=refused)


def _explain_gate(
    explanation: Explanation, store: IContainerStore, dialect: Dialect
) -> Step:
    assert explanation.container is not None
    caller = Caller(explanation.container, explanation.uid)
    refusal = Gate(dialect).refusal(caller, store.get(caller.container))
    user = "no user" if caller.uid is None else f"uid {caller.uid}"
    details = {
        None: f"{user} of {caller.container} may ask",
        Refusal.NOT_IN_CONTAINER: f"{caller.container} is not in the store",
        Refusal.SWITCHED_OFF: f"{dialect.switch} of {caller.container} is false",
        Refusal.NOT_PERMITTED: (
            f"{user} inside is neither root nor one of {dialect.uids_key}"
        ),
    }
    result = Result.PASSED if refusal is None else Result.FAILED
    return Step(f"gate of {dialect.name}", result, details[refusal])
