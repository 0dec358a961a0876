"""Tests of `devlxd.client.questions` and `devlxd.client.errors`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import GuestError, NotFound, NotSupported, ProtocolError, questions
from devlxd.client.exchanges import Question, Request, Response
from devlxd.client.questions import MAX_TEXT, error_of

T = TypeVar("T")

NOT_FOUND = Response(404, {}, b"not found\n")


def answered(question: Question[T], answer: Callable[[Request], Response]) -> T:
    """Run a question, and return its result."""
    try:
        request = next(question)
        while True:
            request = question.send(answer(request))
    except StopIteration as finished:
        result: T = finished.value
        return result


def server(values: Mapping[str, object]) -> Callable[[Request], Response]:
    """Return what answers with the JSON of the values of paths."""

    def answer(request: Request) -> Response:
        if request.path not in values:
            return NOT_FOUND
        value = values[request.path]
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return Response(200, {}, body)

    return answer


class QuestionTests(SynchronousTestCase):
    """The requests of questions, and their results."""

    def test_dialects(self) -> None:
        """The dialect is told by what a server has."""
        devices: Mapping[str, object] = {"/1.0/devices": []}
        for members, others, dialect in [
            ({"state": "Started", "auth": "trusted"}, {}, "lxd6"),
            ({"state": "Started"}, {}, "incus"),
            ({}, devices, "lxd"),
            ({}, {}, "apollo"),
        ]:
            answer = server({"/1.0": members, **others})
            info = answered(questions.info(), answer)
            self.assertEqual(info, {**members, "dialect": dialect})

    def test_vanished(self) -> None:
        """A key or a device that is removed meanwhile is left out."""
        answer = server(
            {
                "/1.0/config?recursion=1": ["/1.0/config/user.a", "/1.0/config/user.b"],
                "/1.0/config/user.b": b"value",
                "/1.0/devices": ["/1.0/device/a", "/1.0/device/b"],
                "/1.0/device/b": {"type": "nic"},
            }
        )
        self.assertEqual(answered(questions.config(), answer), {"user.b": "value"})
        found = answered(questions.devices(), answer)
        self.assertEqual(found, {"b": {"type": "nic"}})

    def test_raw_names(self) -> None:
        """Names that a server lists without encoding are encoded in requests."""
        name = "a%41 b\r\nHost: x é\ud800"
        paths: list[str] = []

        def answer(request: Request) -> Response:
            paths.append(request.path)
            listed = [f"/1.0/config/{name}", f"/1.0/device/{name}"]
            lists = {"/1.0/config?recursion=1": listed[:1], "/1.0/devices": listed[1:]}
            if request.path in lists:
                return Response(200, {}, json.dumps(lists[request.path]).encode())
            return Response(200, {}, b"{}")

        self.assertEqual(answered(questions.config(), answer), {name: "{}"})
        self.assertEqual(answered(questions.devices(), answer), {name: {}})
        for path in paths:
            self.assertTrue(path.isascii() and path.isprintable() and " " not in path)

    def test_bytes(self) -> None:
        """A value that is not UTF-8 can be encoded to its bytes again."""
        answer = server({"/1.0/config/user.a": b"\xff\n"})
        value = answered(questions.get("user.a"), answer)
        self.assertEqual(value.encode("utf-8", "surrogateescape"), b"\xff\n")

    def test_no_devices(self) -> None:
        """Without devices, a device is `NotSupported`; a missing one is `NotFound`."""
        with self.assertRaises(NotSupported):
            answered(questions.device("eth0"), server({}))
        with self.assertRaises(NotFound):
            answered(questions.device("eth0"), server({"/1.0/devices": {}}))

    def test_too_much(self) -> None:
        """The values that make one result are limited together."""
        self.patch(questions, "MAX_BODY", 100)
        names = ["a", "b", "c"]
        answer = server(
            {
                "/1.0/config?recursion=1": [f"/1.0/config/{name}" for name in names],
                **{f"/1.0/config/{name}": b"x" * 40 for name in names},
                "/1.0/devices": [f"/1.0/device/{name}" for name in names],
                **{f"/1.0/device/{name}": {"a": "x" * 40} for name in names},
            }
        )
        for question in (questions.config(), questions.devices()):
            with self.assertRaises(ProtocolError):
                answered(question, answer)

    @given(
        body=st.binary(max_size=60)
        | st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode())
    )
    @example(b"[" * 100_000)
    @example(b"1" * 5000)
    @example(b'["/1.0/config/\\ud800"]')
    def test_any_body(self, body: bytes) -> None:
        """Any body is a result or a `GuestError`."""
        for ask in (
            questions.info,
            questions.config,
            questions.devices,
            questions.meta_data,
            lambda: questions.device("a"),
            lambda: questions.get("user.a"),
        ):
            try:
                answered(ask(), lambda _: Response(200, {}, body))
            except GuestError as error:
                self.assertTrue(str(error))

    def test_text(self) -> None:
        """An error message is one line, and short; there always is one."""
        text = str(error_of(Response(400, {}, b" a\n\tb\xff" + b"x" * 10_000)))
        self.assertTrue(text.startswith("a b"))
        self.assertEqual(len(text), MAX_TEXT)
        self.assertEqual(str(error_of(Response(404, {}, b"\n"))), "status 404")
