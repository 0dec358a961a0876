"""All targets of fuzzing, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fuzz import (
    configs,
    documents,
    frames,
    handovers,
    questions,
    records,
    requests,
)
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target[Any]] = {
    module.TARGET.name: module.TARGET
    for module in (
        requests,
        questions,
        frames,
        documents,
        configs,
        records,
        handovers,
    )
}
