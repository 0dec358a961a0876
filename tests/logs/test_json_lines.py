"""Tests of `devlxd.logs.json_lines`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.logs.json_lines import JSONObserver
from tests.logs.events import ESCAPED, HOSTILE, failure, refusal


def written(**fields: object) -> str:
    """Return what is written for a refusal."""
    lines: list[str] = []
    JSONObserver(lines.append)(refusal(**fields))
    return "".join(lines)


class JSONTests(SynchronousTestCase):
    """The log as JSON."""

    def test_object(self) -> None:
        """An event is one object on one line, with its fields."""
        self.assertTrue(verifyObject(ILogObserver, JSONObserver(print)))
        text = written(container="c1", pid=7, reason=HOSTILE)
        self.assertTrue(text.isascii() and text.endswith("}\n"))
        self.assertEqual(
            json.loads(text),
            {
                "timestamp": "1970-01-01T00:00:01.500Z",
                "level": "warn",
                "event": "caller-refused",
                "message": f"not in a container: {ESCAPED}",
                "container": "c1",
                "logger": "devlxd.peers.admission",
                "pid": 7,
                "reason": ESCAPED,
            },
        )

    def test_traceback(self) -> None:
        """A failure has its traceback, a list of lines."""
        lines: list[str] = []
        JSONObserver(lines.append)(failure("boom"))
        record = json.loads("".join(lines))
        self.assertEqual(record["level"], "critical")
        self.assertIn("builtins.ZeroDivisionError: boom", record["traceback"])

    def test_for_people(self) -> None:
        """The lines of the startup checks are left out: an event has them as fields."""
        lines: list[str] = []
        event = refusal()
        event["log_format"] = "{check}: {result}: {detail}"
        JSONObserver(lines.append)(event)
        self.assertEqual(lines, [])

    @given(
        st.dictionaries(st.text(max_size=10), st.text() | st.integers() | st.floats())
    )
    def test_any_fields(self, fields: dict[str, object]) -> None:
        """Whatever the fields are, strict readers read one object."""
        text = written(**{**fields, "reason": "r", "log_format": "x"})
        (line,) = text.splitlines()
        json.loads(line, parse_constant=self.fail)
