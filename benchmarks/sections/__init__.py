"""The sections of ``python -m benchmarks``, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.context import Section
from benchmarks.sections import (
    boot_storm,
    connections,
    downloads,
    listeners,
    many_containers,
    questions,
)

#: The sections by name.
SECTIONS: Mapping[str, Section] = {
    "questions": questions.measure,
    "connections": connections.measure,
    "events": listeners.measure,
    "images": downloads.measure,
    "containers": many_containers.measure,
    "storm": boot_storm.measure,
}
