# -*- test-case-name: tests.etcd.test_pages -*-
"""Checking all documents below a prefix in etcd at once, without a store."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.containers.document_findings import CheckedDocuments, Findings
from devlxd.containers.document_paths import UnreadableError
from devlxd.containers.document_trees import MAX_DOCUMENT
from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys
from devlxd.containers.etcd_documents import name_of, parse_value
from devlxd.etcd.blocking_gateway import list_keys
from devlxd.etcd.changes import Change
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.interfaces import IRangeGateway
from devlxd.etcd.messages import KeyRange, KeyValue
from devlxd.printable_text import printable_path
from devlxd.turns import finish


def check_keys(
    prefix: str,
    gateways: Iterable[IRangeGateway],
    access_keys: AccessKeys = NO_ACCESS_KEYS,
    max_size: int = MAX_DOCUMENT,
) -> CheckedDocuments:
    """Check all documents below a prefix, one after the other.

    :param gateways: the members of etcd; the first one that answers is used.
    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length of a document, in bytes.
    :raises EtcdError: if no member answers.
    """
    findings = Findings()
    keys = KeyRange.of_prefix(prefix)
    for kv in _listed(keys, gateways, max_size):
        name = name_of(kv.key[len(keys.start) :])
        place = f"etcd:{prefix}{name}"
        change = Change(kv.key, kv)
        try:
            parsed = finish(parse_value(name, place, change, access_keys, max_size))
            findings.add(name, printable_path(place), parsed)
        except UnreadableError as error:
            findings.faults.append(error.fault_of(name))
    return findings.result()


def _listed(
    keys: KeyRange, gateways: Iterable[IRangeGateway], max_size: int
) -> list[KeyValue]:
    problems = []
    for gateway in gateways:
        try:
            return list_keys(gateway, keys, max_size)
        except EtcdError as error:
            problems.append(f"{gateway.endpoint}: {error}")
    raise EtcdError("; ".join(problems))
