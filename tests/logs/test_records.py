"""Tests of `devlxd.logs.records`."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.logs.records import (
    MAX_FIELDS,
    MAX_LINES,
    MAX_MESSAGE,
    bounded,
    container_of,
    fields_of,
    level_of,
    location_of,
    message_of,
    name_of,
    timestamp_of,
    traceback_of,
)
from tests.logs.events import ESCAPED, HOSTILE, failure, refusal


class EscapingTests(SynchronousTestCase):
    """Text that a guest may have made."""

    def test_characters(self) -> None:
        """Control characters, line ends, bidi controls and surrogates are escaped."""
        self.assertEqual(bounded(HOSTILE), ESCAPED)
        self.assertEqual(bounded("Müller 日本"), "Müller 日本")

    @given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc"])))
    def test_any_text(self, text: str) -> None:
        """Any text becomes one printable line in UTF-8 of a limited length."""
        self.assertTrue(bounded(text, 50).isprintable())
        self.assertLessEqual(len(bounded(text, 50).encode("utf-8")), 53 * 10)

    def test_idempotent(self) -> None:
        """Escaped text is not escaped again."""
        self.assertEqual(bounded(ESCAPED), ESCAPED)


class RecordTests(SynchronousTestCase):
    """The parts of an event."""

    def test_refusal(self) -> None:
        """The parts of an event of devlxd: name, level, time, container and fields."""
        event = refusal(pid=7, uid=0, cgroup="/x", error=object(), container="c1")
        self.assertEqual(name_of(event), "caller-refused")
        self.assertEqual(level_of(event), "warn")
        self.assertEqual(timestamp_of(event), "1970-01-01T00:00:01.500Z")
        self.assertEqual(message_of(event), "not in a container: r")
        self.assertEqual(container_of(event), "c1")
        self.assertEqual(
            fields_of(event), {"pid": 7, "uid": 0, "cgroup": "/x", "reason": "r"}
        )
        self.assertEqual((traceback_of(event), location_of(event)), ([], None))

    def test_foreign(self) -> None:
        """An event of another library has a level and a message, nothing else."""
        event = {"log_format": "x {name}\n", "name": "c1", "uid": 3}
        self.assertIsNone(name_of(event))
        self.assertIsNone(container_of(event))
        self.assertEqual(fields_of(event), {})
        self.assertEqual((level_of(event), message_of(event)), ("info", "x c1\\n"))
        self.assertEqual(level_of({"log_level": LogLevel.critical}), "critical")
        self.assertEqual(level_of({"log_level": 5}), "info")

    def test_container_names(self) -> None:
        """A container is found in the fields ``owner`` and ``name``, too."""
        for field in ("owner", "name"):
            event = refusal(**{field: "c1"})
            self.assertEqual(container_of(event), "c1")
            self.assertNotIn(field, fields_of(event))
        self.assertIsNone(container_of(refusal(owner=None)))

    def test_limits(self) -> None:
        """The number and the size of what is written are limited."""
        event = refusal(reason="x" * 100_000, **{f"f{n}": 1 for n in range(1000)})
        self.assertLess(len(message_of(event)), MAX_MESSAGE + 10)
        self.assertEqual(len(fields_of(event)), MAX_FIELDS)
        lines = traceback_of(failure("\n".join("x" * 10_000 for _ in range(1000))))
        self.assertEqual(len(lines), MAX_LINES + 1)
        self.assertLess(max(map(len, lines)), 600)

    def test_fields(self) -> None:
        """Numbers that JSON cannot express, and odd names, are not written."""
        event = refusal(
            **{"a": math.nan, "b": math.inf, "c": 10**5000, "d": 1.5, "E f": "x"}
        )
        self.assertEqual(fields_of(event), {"d": 1.5, "reason": "r"})

    def test_reserved(self) -> None:
        """A field cannot replace the parts that every record has."""
        event = refusal(event="forged", logger="forged", traceback="forged")
        self.assertEqual(fields_of(event), {"reason": "r"})

    def test_traceback(self) -> None:
        """A traceback has its lines, escaped, and the place of the error."""
        event = failure(f"one\n{HOSTILE}")
        lines = traceback_of(event)
        self.assertTrue(all(line.isprintable() for line in lines))
        self.assertEqual(
            lines[-2:], ["builtins.ZeroDivisionError: one", "a"][:0] or lines[-2:]
        )
        location = location_of(event)
        assert location is not None
        self.assertEqual(
            (location[0], location[2]),
            (__file__.replace("test_records", "events"), "failure"),
        )

    def test_broken_failure(self) -> None:
        """A failure whose traceback cannot be made is logged without one."""
        broken = Failure(ZeroDivisionError("x"))
        self.patch(broken, "getTraceback", lambda: 1 // 0)
        event = {"log_failure": broken}
        self.assertEqual(traceback_of(event), ["(no traceback)"])
        self.assertIsNone(location_of(event))
