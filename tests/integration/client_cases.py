"""The table of calls: what three clients of the guest API get from six servers.

The clients are the ``devlxd`` command, `devlxd.client.Guest` and
`devlxd.client.sync.Guest`. They all get the same, see `check`. `Row` has the exceptions
to "all servers answer the same", each with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from tests.integration.client_calls import FILE, Result

#: devlxd in each dialect, and the others. They are the columns of the table.
LXD6, LXD, APOLLO, INCUS = (
    f"devlxd {dialect}" for dialect in ("lxd6", "lxd", "apollo", "incus")
)
REAL_LXD, REAL_INCUS = "LXD 5.0", "Incus"
SERVERS = (LXD6, LXD, APOLLO, INCUS, REAL_LXD, REAL_INCUS)

#: Those whose guests read ``user.*`` only.
FEWER = (LXD, APOLLO)

#: Those without guest states.
OLD = (LXD, APOLLO, REAL_LXD)

#: The circumstances: as root and as another user of the container, with the API
#: switched off for the container, and without a server.
ROOT, USER, OFF, GONE = "root", "another user", "switched off", "no server"

#: The config of the container.
CONFIG = {
    "user.a": "b",
    "user.a/b": "a slash",
    "user.text": "two\nlines <&> \u00e9",
    "user.tick": "0",
    "cloud-init.user-data": "#cloud-config\npackages: []\n",
}

#: The devices of the container.
NIC = {"type": "nic", "nictype": "p2p", "name": "eth0", "hwaddr": "00:16:3e:00:00:01"}
DEVICES = {"eth0": NIC, "root": {"type": "disk", "path": "/", "pool": "default"}}

#: The NIC of devlxd's ``lxd``, which lists no other kind.
LISTED_NIC = {**NIC, "nictype": "ipvlan"}

#: What meta-data names a container by.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: The width of a cell of the printed table, in characters.
_WIDTH = 20

#: Exit statuses by exception.
STATUSES = {
    "NotFound": 3,
    "Forbidden": 4,
    "Unavailable": 5,
    "NotSupported": 1,
    "ProtocolError": 1,
}


@frozen
class Fails:
    """The expectation that a call fails.

    :ivar error: the name of the exception.
    """

    error: str

    def __str__(self) -> str:
        """Return the exception and the exit status."""
        return f"{self.error}, {STATUSES[self.error]}"


@frozen
class Difference:
    """What some servers answer otherwise, and why."""

    servers: Sequence[str]
    expected: object
    reason: str


@frozen
class Row:
    """A call, and what it returns.

    :ivar words: those of the command.
    :ivar method: the method of both faces, and its arguments.
    :ivar expected: the value, or `Fails`.
    :ivar differences: the exceptions; the last one for a server counts.
    :ivar where: the circumstances.
    :ivar members: the only members of the value that are compared; default: all.
    """

    words: str
    method: Sequence[str]
    expected: object
    differences: Sequence[Difference] = ()
    where: str = field(default=ROOT, kw_only=True)
    members: Sequence[str] = field(default=(), kw_only=True)

    def call(self) -> tuple[list[str], str, list[str]]:
        """Return the call for `tests.integration.client_calls`."""
        method, *arguments = self.method
        return self.words.split(), method, arguments

    def expected_of(self, server: str) -> object:
        """Return the value or the failure that a server is expected to send."""
        for difference in reversed(self.differences):
            if server in difference.servers:
                return difference.expected
        return self.expected

    def normalized(self, value: object, name: str, socket: str) -> object:
        """Return a value without what is another one in each container."""
        if self.members:
            assert isinstance(value, Mapping)
            value = {key: value[key] for key in self.members}
        text = json.dumps(value).replace(name, "NAME").replace(socket, "SOCKET")
        return json.loads(
            re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
        )


NOT_FOUND, FORBIDDEN = Fails("NotFound"), Fails("Forbidden")
NOT_SUPPORTED, UNAVAILABLE = Fails("NotSupported"), Fails("Unavailable")

_DEVICELESS = Difference([APOLLO], NOT_SUPPORTED, "apollo has no devices")
_IMAGELESS = Difference([APOLLO], NOT_FOUND, "apollo has no images")
_STATELESS = Difference(OLD, NOT_SUPPORTED, "guest states came with LXD 5.5")
_EVENTLESS = Difference([APOLLO], NOT_SUPPORTED, "apollo has no events")
_ONLY_IPVLAN = "it lists only NICs with nictype ipvlan"
_META_DATA = "instance-id: ID\nlocal-hostname: NAME\n"

#: The questions that need nothing but a container.
_QUESTIONS = (
    ("config", ["config"]),
    ("config user.a", ["get", "user.a"]),
    ("devices", ["devices"]),
    ("devices eth0", ["device", "eth0"]),
    ("meta-data", ["meta_data"]),
    ("events", ["events"]),
)


def rows(unified: Mapping[str, str], split: Mapping[str, str]) -> list[Row]:
    """Return the table.

    :param unified: an image of one file: SHA-256 by name, after `FILE`.
    :param split: the same of an image of two files, with the fingerprint as ``""``.
    """
    return [*_values(), *_missing(), *_images(unified, split), *_refused()]


def _info(dialect: str) -> dict[str, str]:
    return {"dialect": dialect, "socket": "SOCKET", "api_version": "1.0"}


def _values() -> list[Row]:
    old_config = {key: v for key, v in CONFIG.items() if key.startswith("user.")}
    return [
        Row(
            "info",
            ["info"],
            _info("lxd6"),
            [
                Difference([LXD], _info("lxd"), "it has no state"),
                Difference([APOLLO], _info("apollo"), "as lxd, without devices"),
                Difference([INCUS, REAL_INCUS], _info("incus"), "no auth"),
                Difference(
                    [REAL_LXD], _info("incus"), "its /1.0 has the members of Incus's"
                ),
            ],
            members=("dialect", "socket", "api_version"),
        ),
        Row(
            "config",
            ["config"],
            CONFIG,
            [Difference(FEWER, old_config, "they list user.* only")],
        ),
        *(Row(f"config {key}", ["get", key], CONFIG[key]) for key in old_config),
        Row(
            "config cloud-init.user-data",
            ["get", "cloud-init.user-data"],
            CONFIG["cloud-init.user-data"],
            [Difference(FEWER, FORBIDDEN, "guests read user.* only")],
        ),
        Row(
            "devices",
            ["devices"],
            DEVICES,
            [_DEVICELESS, Difference([LXD], {"eth0": LISTED_NIC}, _ONLY_IPVLAN)],
        ),
        Row(
            "devices eth0",
            ["device", "eth0"],
            NIC,
            [_DEVICELESS, Difference([LXD], LISTED_NIC, _ONLY_IPVLAN)],
        ),
        Row(
            "meta-data",
            ["meta_data"],
            f"#cloud-config\n{_META_DATA}",
            [Difference([LXD6], _META_DATA, "LXD 6 has dropped #cloud-config")],
        ),
        Row("ready", ["ready"], None, [_STATELESS]),
        Row("events", ["events"], None, [_EVENTLESS]),
    ]


def _missing() -> list[Row]:
    zeros = "0" * 64
    return [
        Row("config user.no", ["get", "user.no"], NOT_FOUND),
        Row("devices no", ["device", "no"], NOT_FOUND, [_DEVICELESS]),
        Row(f"image get {zeros} -o FILE", ["image", zeros, FILE], NOT_FOUND),
    ]


def _images(unified: Mapping[str, str], split: Mapping[str, str]) -> list[Row]:
    found = []
    for image in (unified, split):
        files = {name: digest for name, digest in image.items() if name}
        words = f"image get {image['']} -o {FILE}"
        found.append(Row(words, ["image", image[""], FILE], files, [_IMAGELESS]))
    return found


def _refused() -> list[Row]:
    return [
        *(Row(words, call, FORBIDDEN, where=USER) for words, call in _QUESTIONS),
        *(Row(words, call, FORBIDDEN, where=OFF) for words, call in _QUESTIONS),
        *(Row(words, call, UNAVAILABLE, where=GONE) for words, call in _QUESTIONS),
    ]


def check(
    row: Row, server: str, name: str, socket: str, results: Sequence[Result]
) -> list[str]:
    """Compare the results of the three clients with one another and the expected one.

    :param name: the name of the container.
    :param socket: the socket that the clients find.
    :return: what is not as expected, in words.
    """
    by_command, by_async, by_sync = results
    where = f"{server}, {row.where}: {row.words}"
    fails = isinstance(row.expected_of(server), Fails)
    if row.method[0] == "events" and not fails:
        return _check_event(where, results)
    if by_async != by_sync:
        return [f"{where}: the faces differ: {by_async} and {by_sync}"]
    got: object
    if "error" in by_sync:
        got = Fails(by_sync["error"])
        status, text = STATUSES.get(by_sync["error"]), by_sync["text"]
        is_same = text in by_command["text"] and by_command["stdout"] == ""
    else:
        got = row.normalized(by_sync["value"], name, socket)
        status, is_same = 0, by_command.get("value") == by_sync["value"]
        if row.words == "ready":
            is_same = by_command.get("value") == {"state": "Ready"}
    found = []
    if not is_same or by_command["status"] != status:
        found.append(f"{where}: the command differs: {by_command} and {by_sync}")
    if got != row.expected_of(server):
        found.append(f"{where}: {got} instead of {row.expected_of(server)}")
    return found


def table_of(
    table: Sequence[Row], columns: Mapping[str, Sequence[Sequence[Result]]]
) -> str:
    """Return the results as a table, one column for each server."""
    ordered = [server for server in SERVERS if server in columns]
    shown = [["call", "as", *ordered]]
    for number, row in enumerate(table):
        words = _short(row.words)
        cells = [_cell(columns[server][number]) for server in ordered]
        shown.append([words, row.where, *cells])
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in shown]
    rule = "  ".join("=" * width for width in widths)
    text = "\n".join([rule, lines[0], rule, *lines[1:], rule])
    return "\n".join([text, *_reasons(table)])


def _short(words: str) -> str:
    """Return the words of a command with short fingerprints."""
    return re.sub(r"\b([0-9a-f]{4})[0-9a-f]{60}\b", r"\1...", words)


def _reasons(table: Sequence[Row]) -> list[str]:
    """Return the exceptions from "all servers answer the same", in words."""
    return [
        f"* {_short(row.words)}, {', '.join(d.servers)}: {d.reason}"
        for row in table
        for d in row.differences
    ]


def _cell(results: Sequence[Result]) -> str:
    by_command, _, by_sync = results
    if "error" in by_sync:
        return f"{by_sync['error']}, {by_command['status']}"
    value = by_sync["value"]
    if not isinstance(value, Mapping):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(
            value.get("dialect") or value.get("type") or ", ".join(sorted(value))
        )
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _check_event(where: str, results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Check that each client has received a change, and that the command ends."""
    found = []
    for result in results:
        event = result.get("value")
        if event is None or event["metadata"]["key"] != "user.tick":
            found.append(f"{where}: {result}")
        elif result.get("status", 130) != 130:
            found.append(f"{where}: the command ended with {result['status']}")
    return found
