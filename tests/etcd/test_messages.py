"""Tests of `devlxd.etcd.messages`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.errors import INVALID_ARGUMENT, UNAVAILABLE, EtcdError
from devlxd.etcd.messages import (
    KeyRange,
    KeyValue,
    RangeAnswer,
    RangeRequest,
    WatchEvent,
    WatchLine,
    authenticate_request,
    parse_error,
    parse_token,
    watch_request,
)

KEYS = KeyRange.of_prefix("/h1/")


class RequestTests(SynchronousTestCase):
    """The bodies of requests."""

    def test_prefix(self) -> None:
        """The range of a prefix ends before the next prefix of the same length."""
        self.assertEqual(KEYS, KeyRange(b"/h1/", b"/h10"))
        self.assertEqual(KEYS.after(b"/h1/a"), KeyRange(b"/h1/a\0", b"/h10"))

    def test_range(self) -> None:
        """Only what is not zero is sent; nothing is serializable."""
        self.assertEqual(
            json.loads(RangeRequest(KEYS).as_json()),
            {"key": "L2gxLw==", "range_end": "L2gxMA=="},
        )
        request = RangeRequest(KEYS, 1, 2, 3, keys_only=True)
        self.assertEqual(
            json.loads(request.as_json()),
            {
                "key": "L2gxLw==",
                "range_end": "L2gxMA==",
                "limit": "1",
                "revision": "2",
                "min_mod_revision": "3",
                "keys_only": True,
            },
        )

    def test_watch(self) -> None:
        """A watch begins with a revision, and asks for fragments."""
        create = json.loads(watch_request(KEYS, 7))["create_request"]
        self.assertEqual((create["start_revision"], create["fragment"]), ("7", True))

    def test_authenticate(self) -> None:
        """A name and a password."""
        body = json.loads(authenticate_request("h1", "p"))
        self.assertEqual(body, {"name": "h1", "password": "p"})


class AnswerTests(SynchronousTestCase):
    """The bodies of responses, as etcd 3.4 and 3.6 send them."""

    def test_empty(self) -> None:
        """An empty range has neither keys nor a count."""
        body = b'{"header":{"cluster_id":"117","revision":"4"}}'
        self.assertEqual(RangeAnswer.parse(body), RangeAnswer("117", 4, size=len(body)))

    def test_range(self) -> None:
        """An empty value is absent; there may be spaces anywhere."""
        body = (
            b'{ "header": {"cluster_id": 1, "revision": 9}, "kvs": [ {"key":"YQ==", '
            b'"create_revision":"2","mod_revision":"5","version":"2","value":"MQ=="}, '
            b'{"key":"Yg==","create_revision":"3","mod_revision":"3"} ],'
            b' "more": true, "count": "7"}'
        )
        answer = RangeAnswer.parse(body)
        self.assertEqual(
            answer.kvs, (KeyValue(b"a", b"1", 2, 5), KeyValue(b"b", b"", 3, 3))
        )
        self.assertEqual((answer.more, answer.count, answer.revision), (True, 7, 9))
        without = RangeAnswer.parse(body, keys_only=True)
        self.assertEqual([kv.value for kv in without.kvs], [None, None])

    def test_watch(self) -> None:
        """Puts and removals, and the lines without events."""
        line = (
            b'{"result":{"header":{"revision":"6"},"fragment":true,"events":['
            b'{"kv":{"key":"YQ==","create_revision":"2","mod_revision":"5"}},'
            b'{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"6"}}]}}'
        )
        parsed = WatchLine.parse(line)
        self.assertEqual(
            parsed.events,
            (
                WatchEvent(KeyValue(b"a", b"", 2, 5)),
                WatchEvent(KeyValue(b"a", None, 0, 6), is_removal=True),
            ),
        )
        self.assertTrue(parsed.is_fragment)
        created = WatchLine.parse(b'{"result":{"header":{},"created":true}}')
        self.assertEqual(created, WatchLine(is_created=True))
        compacted = WatchLine.parse(
            b'{"result":{"header":{},"canceled":true,"compact_revision":"40"}}'
        )
        self.assertEqual(compacted, WatchLine(is_canceled=True, compact_revision=40))
        refused = WatchLine.parse(
            b'{"result":{"watch_id":"-1","created":true,"canceled":true,'
            b'"cancel_reason":"rpc error\\n"}}'
        )
        self.assertEqual(refused.reason, r"'rpc error\n'")

    def test_watch_error(self) -> None:
        """The last line may be an error."""
        line = (
            b'{"error":{"grpc_code":14,"http_code":503,'
            b'"message":"etcdserver: no leader"}}'
        )
        error = self.assertRaises(EtcdError, WatchLine.parse, line)
        self.assertEqual((str(error), error.code), ("etcdserver: no leader", 14))

    def test_errors(self) -> None:
        """The code counts, wherever the version of etcd writes it."""
        for body, code, text in (
            (b'{"error":"a","message":"b","code":3}', INVALID_ARGUMENT, "b"),
            (b'{"code":14,"message":"b"}', UNAVAILABLE, "b"),
            (b'{"error":"a"}', None, "a"),
            (b"{}", None, "code None"),
            (b"404 page not found\n", None, "HTTP status 404: 404 page not found"),
            (b"\xff" + b"x" * 9999, None, "HTTP status 404: \ufffdxxx"),
        ):
            error = parse_error(404, body)
            self.assertEqual(error.code, code)
            self.assertEqual(str(error)[: len(text)], text)
            self.assertLess(len(str(error)), 300)

    def test_token(self) -> None:
        """Only a text that a header can have is a token."""
        self.assertEqual(parse_token(b'{"token":"a.1"}'), "a.1")
        for body in (b"{}", b'{"token":1}', b'{"token":"a\\r\\nb"}', b"x"):
            self.assertRaises(EtcdError, parse_token, body)

    def test_unintelligible(self) -> None:
        """What is not an answer of etcd is an error, whatever it is."""
        for body in (b"", b"x", b"[]", b"1", b"{}", b'{"header":1}', b"[" * 100_000):
            self.assertRaises(EtcdError, RangeAnswer.parse, body)
        for revision in (b'"-1"', b'"99999999999999999999"', b"[]", b"1e999"):
            body = b'{"header":{"cluster_id":"1","revision":%s}}' % revision
            self.assertRaises(EtcdError, RangeAnswer.parse, body)
        for kvs in (b"1", b"[1]", b'[{"key":1}]', b'[{"key":"*"}]'):
            body = b'{"header":{"cluster_id":"1","revision":"1"},"kvs":%s}' % kvs
            self.assertRaises(EtcdError, RangeAnswer.parse, body)
        for line in (b"", b"{}", b'{"error":1}', b'{"result":{"events":[{}]}}'):
            self.assertRaises(EtcdError, WatchLine.parse, line)

    def test_no_etcd(self) -> None:
        """An answer without ids is not the list of an etcd without keys."""
        for header in (b"", b'"revision":"5"', b'"cluster_id":"1"'):
            body = b'{"header":{%s}}' % header
            self.assertRaises(EtcdError, RangeAnswer.parse, body)

    def test_secret(self) -> None:
        """A value is not in the representation of a key."""
        self.assertNotIn("swordfish", repr(KeyValue(b"a", b"swordfish", 1, 1)))
