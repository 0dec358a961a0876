"""Tests of commands whose question is answered with any JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.commands import containers, log, status, why
from devlxd.commands.admin_client import AdminClient, NoServiceError

#: The names of members that the commands know.
NAMES = st.sampled_from(
    [
        "version",
        "pid",
        "uptime_seconds",
        "healthy",
        "problems",
        "listeners",
        "containers",
        "known",
        "broken",
        "connections",
        "subscribers",
        "refused",
        "limits",
        "dialect",
        "address",
        "listening",
        "name",
        "document",
        "run",
        "state",
        "last_question",
        "refusals",
        "faults",
        "others",
        "file",
        "line",
        "text",
        "steps",
        "check",
        "result",
        "detail",
        "container",
        "timestamp",
        "event",
        "reason",
        "config",
    ]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=30,
)

OBJECTS = st.dictionaries(NAMES, JSON, max_size=12)


class StrangeAnswerTests(SynchronousTestCase):
    """Whatever is answered, a command prints clean text, or says who answered."""

    def check(self, render: Callable[[Any], str], answer: object) -> None:
        """Check that an answer is shown without control characters, or is refused."""
        try:
            text = AdminClient(Path("/nope")).text_of(answer, render)
        except NoServiceError as error:
            self.assertIn("not one of devlxd", str(error))
        else:
            self.assertTrue(text.replace("\n", "").isprintable(), ascii(text))

    @given(OBJECTS)
    def test_objects(self, answer: dict[str, Any]) -> None:
        """An answer about one thing may be any JSON object."""
        for render in (status.render, containers.render, why.render, log.render):
            self.check(render, answer)

    @given(st.lists(OBJECTS, max_size=3))
    def test_lists(self, answer: list[dict[str, Any]]) -> None:
        """An answer about containers may be any list of JSON objects."""
        self.check(containers.render_list, answer)

    def test_no_number(self) -> None:
        """A time may be no number of seconds: Python reads ``Infinity``, too."""
        for seconds in (float("inf"), float("nan"), -1.5):
            self.check(status.render, {"version": "1", "uptime_seconds": seconds})

    def test_deep(self) -> None:
        """An answer may be as deep as Python can read it."""
        deep: list[object] = []
        for _ in range(900):
            deep = [deep]
        self.check(status.render, {"version": deep})
        self.check(status.render, {"problems": deep})
