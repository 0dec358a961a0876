# -*- test-case-name: tests.etcd.test_messages -*-
"""The messages of etcd's JSON gateway: requests, answers, and the lines of a watch.

int64 are texts, bytes are base64, and fields that are zero, empty or false are absent.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from devlxd.etcd.errors import EtcdError
from devlxd.printable_text import printable

#: The greatest number of a revision.
_MAX_REVISION = 2**63 - 1


@frozen
class KeyRange:
    """The keys from ``start`` up to ``end``, which is not one of them."""

    start: bytes
    end: bytes

    @classmethod
    def of_prefix(cls, prefix: str) -> KeyRange:
        """Return the range of all keys that begin with ``prefix``."""
        start = prefix.encode("utf-8", "surrogateescape")
        # The last byte of a text in UTF-8 is never 255.
        return cls(start, start[:-1] + bytes([start[-1] + 1]))

    def after(self, key: bytes) -> KeyRange:
        """Return the part of the range behind ``key``."""
        return KeyRange(key + b"\0", self.end)


@frozen
class KeyValue:
    """A key with its value.

    :ivar key: the key.
    :ivar value: its value; ``None`` if it was not sent: with ``keys_only``, of a
        removed key, and if it is too large.
    :ivar create_revision: the revision in which the key was created last.
    :ivar mod_revision: the revision of its last change.
    """

    key: bytes
    # Values are secret: they must not be in a traceback.
    value: bytes | None = field(repr=False)
    create_revision: int
    mod_revision: int


@frozen
class RangeRequest:
    """A question for the keys of a range.

    :ivar keys: the range.
    :ivar limit: the maximum number of keys in the answer; 0 for all.
    :ivar revision: the revision of the store to look at; 0 for the present one.
    :ivar min_mod_revision: only keys that were changed in this revision or later.
    :ivar keys_only: whether to omit the values.
    """

    keys: KeyRange
    limit: int = 0
    revision: int = 0
    min_mod_revision: int = 0
    keys_only: bool = False

    def as_json(self) -> bytes:
        """Return the body of the request.

        It does not ask for ``serializable``: a member that is cut off must not answer
        with what was true once.
        """
        fields: dict[str, object] = _range_fields(self.keys)
        for name in ("limit", "revision", "min_mod_revision"):
            if getattr(self, name):
                fields[name] = str(getattr(self, name))
        if self.keys_only:
            fields["keys_only"] = True
        return json.dumps(fields).encode()


@frozen
class RangeAnswer:
    """The answer to a `RangeRequest`.

    :ivar cluster_id: the id of the cluster. Another cluster may have the same.
    :ivar revision: the present revision of the store, whatever revision was asked for.
    :ivar kvs: the keys, in their order.
    :ivar count: the number of all keys in the range, whatever else was asked for.
    :ivar more: whether ``limit`` has cut off some.
    :ivar size: the length of the answer, in bytes.
    """

    cluster_id: str
    revision: int
    kvs: tuple[KeyValue, ...] = ()
    count: int = 0
    more: bool = False
    size: int = 0

    @classmethod
    def parse(cls, body: bytes, keys_only: bool = False) -> RangeAnswer:
        """Parse the body of a response.

        :param keys_only: whether the request has asked for no values.
        :raises EtcdError: if it is not such an answer.
        """
        answer = _object(body)
        header = _mapping(answer.get("header"))
        cluster_id, revision = header.get("cluster_id"), _number(header, "revision")
        if not cluster_id or not revision:
            raise _unintelligible()  # It would be taken for an etcd without keys.
        return cls(
            str(cluster_id),
            revision,
            tuple(_key_value(kv, not keys_only) for kv in _list(answer.get("kvs"))),
            _number(answer, "count"),
            answer.get("more") is True,
            len(body),
        )


@frozen
class WatchEvent:
    """One change of one key.

    :ivar kv: the key after the change; a removed one has neither a value nor a
        ``create_revision``.
    :ivar is_removal: whether the key was removed.
    """

    kv: KeyValue
    is_removal: bool = False


@frozen
class WatchLine:
    """One line of the answer to a watch.

    :ivar events: the changes, in their order.
    :ivar is_created: whether the watch begins.
    :ivar is_canceled: whether etcd ends the watch. It does not close the connection.
    :ivar compact_revision: the first revision that still can be watched; 0 if this
        is not why the watch is canceled.
    :ivar reason: why the watch is refused; empty if it is not.
    :ivar is_fragment: whether the next line has more events of the same revision.
    """

    events: tuple[WatchEvent, ...] = ()
    is_created: bool = False
    is_canceled: bool = False
    compact_revision: int = 0
    reason: str = ""
    is_fragment: bool = False

    @classmethod
    def parse(cls, line: bytes) -> WatchLine:
        """Parse a line.

        :raises EtcdError: if it is an error, or no such line.
        """
        answer = _object(line)
        if "error" in answer:
            raise error_of(_mapping(answer["error"]))
        result = _mapping(answer.get("result"))
        return cls(
            tuple(map(_event, _list(result.get("events")))),
            result.get("created") is True,
            result.get("canceled") is True,
            _number(result, "compact_revision"),
            printable(str(result.get("cancel_reason", ""))),
            result.get("fragment") is True,
        )


def watch_request(keys: KeyRange, start_revision: int) -> bytes:
    """Return the body of the request for a watch.

    :param start_revision: the first revision whose changes are sent.
    """
    create = {
        **_range_fields(keys),
        "start_revision": str(start_revision),
        # Without it, a line may have the values of 1000 revisions.
        "fragment": True,
    }
    return json.dumps({"create_request": create}).encode()


def authenticate_request(user: str, password: str) -> bytes:
    """Return the body of the request for a token."""
    return json.dumps({"name": user, "password": password}).encode()


def parse_token(body: bytes) -> str:
    """Return the token in the answer to `authenticate_request`.

    :raises EtcdError: if it has none.
    """
    token = _object(body).get("token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise EtcdError("etcd has sent no token")
    return token


def parse_error(status: int, body: bytes) -> EtcdError:
    """Return the error in a response.

    :param status: the HTTP status, which is used only if etcd does not say more.
    """
    try:
        answer = _object(body)
    except EtcdError:
        text = body.decode("utf-8", "replace").strip()
        return EtcdError(f"HTTP status {status}: {printable(text)}")
    return error_of(answer)


def error_of(fields: Mapping[str, Any]) -> EtcdError:
    """Return the error with these fields; their names differ between versions."""
    code = fields.get("code", fields.get("grpc_code"))
    text = fields.get("message", fields.get("error"))
    code = code if isinstance(code, int) else None
    return EtcdError(printable(str(text or f"code {code}")), code)


def _range_fields(keys: KeyRange) -> dict[str, object]:
    return {
        "key": b64encode(keys.start).decode(),
        "range_end": b64encode(keys.end).decode(),
    }


def _event(event: object) -> WatchEvent:
    fields = _mapping(event)
    is_removal = fields.get("type") == "DELETE"
    return WatchEvent(_key_value(fields.get("kv"), not is_removal), is_removal)


def _key_value(value: object, has_value: bool) -> KeyValue:
    fields = _mapping(value)
    return KeyValue(
        _bytes(fields.get("key", "")),
        _bytes(fields.get("value", "")) if has_value else None,
        _number(fields, "create_revision"),
        _number(fields, "mod_revision"),
    )


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (ValueError, RecursionError):
        raise _unintelligible() from None


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise _unintelligible()


def _list(value: object) -> list[object]:
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise _unintelligible()


def _bytes(value: object) -> bytes:
    try:
        return b64decode(value, validate=True)  # type: ignore[arg-type] # see except
    except (TypeError, ValueError):
        raise _unintelligible() from None


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise _unintelligible() from None
    if not 0 <= number <= _MAX_REVISION:
        raise _unintelligible()
    return number


def _unintelligible() -> EtcdError:
    return EtcdError("the answer is not one of etcd's JSON gateway")
