"""Tests of one ``twistd devlxd`` that serves every dialect to real containers."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import ProcessTestCase
from tests.integration.servers import DevLXD
from tests.integration.test_specification import LXD_PATHS, PATHS

#: How often each guest requests each path, and how often its document changes
#: meanwhile.
ROUNDS = 100
CHANGES = 20

#: Requests paths again and again while the host changes the document, sets the guest
#: state, and waits for the event of the last change. The arguments are the name of
#: the container, the paths, the number of rounds, and the value of ``user.n`` after
#: the last change, which is empty if the dialect has no events. Prints the responses
#: for each request, without repetitions, and the events.
PROGRAM = """
    import json
    from http.client import HTTPConnection

    class Connection(HTTPConnection):
        def connect(self):
            self.sock = connect()

    def request(method, path, body=None):
        guest.request(method, path, body)
        response = guest.getresponse()
        seen = [response.status, response.read().decode(), response.getheader("Allow")]
        before = found.setdefault(f"{method} {path}", [])
        if seen not in before:
            before.append(seen)

    name, paths, rounds, last = sys.argv[1:]
    found, events = {}, []
    guest, subscriber = Connection("unix"), Connection("unix")
    if last:
        subscriber.request("GET", "/1.0/events")
        stream = subscriber.getresponse()
    host = arrive(name.encode())
    host.recv(1)
    for _ in range(int(rounds)):
        for path in json.loads(paths):
            request("GET", path)
    request("PATCH", "/1.0", '{"state": "Ready"}')
    request("GET", "/1.0")
    while last and not (events and last in events[-1]["metadata"].values()):
        if line := stream.readline().strip():
            events.append(json.loads(line))
    print(json.dumps([found, events]))
"""

#: For each dialect, its paths and the bodies of the responses; ``{name}`` is the
#: container's name, ``{state}`` its guest state.
USER_KEYS = '"/1.0/config/user.a","/1.0/config/user.n","/1.0/config/user.name"'
ALL_KEYS = f'"/1.0/config/cloud-init.user-data",{USER_KEYS}'
NIC = '"hwaddr":"00:16:3e:00:00:01","nictype":"ipvlan","type":"nic"'
NEW_PATHS = {
    "/": '["/1.0"]\n',
    "/1.0/config": f"[{ALL_KEYS}]\n",
    "/1.0/config/cloud-init.user-data": "#cloud-config\nhostname: {name}\n",
    "/1.0/config/user.name": "{name}",
    "/1.0/devices": '{"eth-{name}":{' + NIC + "}}\n",
}
STATE = '"instance_type":"container","location":"here","state":"{state}"'
META_DATA = "instance-id: id-{name}\nlocal-hostname: {name}\n"
RESPONSES = {
    "lxd": {**PATHS, **LXD_PATHS, "/1.0/config": f"[{USER_KEYS}]\n"},
    "apollo": {**PATHS, "/1.0/config": f"[{USER_KEYS}]\n"},
    "lxd6": {
        **NEW_PATHS,
        "/1.0": '{"api_version":"1.0","auth":"untrusted",'
        + STATE
        + ',"supported_storage_drivers":[]}\n',
        "/1.0/meta-data": META_DATA,
    },
    "incus": {
        **NEW_PATHS,
        "/1.0": '{"api_version":"1.0",' + STATE + "}\n",
        "/1.0/meta-data": f"#cloud-config\n{META_DATA}",
    },
}

#: For each dialect, the path of the socket in the guest.
SOCKETS = {
    "lxd": "/dev/lxd/sock",
    "apollo": "/dev/apollo/sock",
    "lxd6": "/dev/lxd/sock",
    "incus": "/dev/incus/sock",
}


@frozen
class Guest:
    """A container that uses one dialect, and its document.

    :ivar dialect: the name of the dialect.
    :ivar home: the temporary directory of the test.
    :ivar container: the container.
    """

    dialect: str
    home: Path
    container: LXCContainer = field(init=False)

    @container.default
    def _default_container(self) -> LXCContainer:
        directory = Path(SOCKETS[self.dialect]).parent
        binds = {
            self.home / self.dialect: str(directory.relative_to("/")),
            self.home / "shared": "run/shared",
        }
        return LXCContainer(unique_name(self.dialect), self.home, 100_000, binds)

    def value(self, number: int) -> str:
        """Return the value of ``user.n`` after a number of changes."""
        return f"{self.container.name}-{number}"

    def write_document(self, number: int) -> None:
        """Replace the document by the one after a number of changes."""
        name = self.container.name
        config = {
            "user.a": "b",
            "user.name": name,
            "user.n": self.value(number),
            "cloud-init.user-data": f"#cloud-config\nhostname: {name}\n",
            "limits.cpu": "2",
            "volatile.cloud-init.instance-id": f"id-{name}",
            f"volatile.eth-{name}.hwaddr": "00:16:3e:00:00:01",
        }
        nic = {"type": "nic", "nictype": "ipvlan"}
        document = {"config": config, "devices": {f"eth-{name}": nic}}
        path = self.home / "documents" / f"{name}.json"
        new = path.with_name(f".{name}.new")
        new.write_text(json.dumps(document))
        new.rename(path)

    def run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run `PROGRAM` in the container; return what it prints."""
        paths = json.dumps([*self.responses(), "/1.0/config/user.n", "/nope"])
        last = "" if self.dialect == "apollo" else self.value(CHANGES)
        arguments = (self.container.name, paths, str(ROUNDS), last)
        command = python(PROGRAM, *arguments, socket=SOCKETS[self.dialect])
        found, events = json.loads(self.container.run(*command))
        return found, events

    def responses(self, state: str = "Started") -> dict[str, str]:
        """Return the bodies of the responses, by their paths."""
        return {
            self._filled_in(path, state): self._filled_in(body, state)
            for path, body in RESPONSES[self.dialect].items()
        }

    def _filled_in(self, text: str, state: str) -> str:
        name = self.container.name
        return text.replace("{name}", name).replace("{state}", state)


class DialectTests(ProcessTestCase):
    """Four containers at once; each uses another dialect of one devlxd."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("documents", "shared"):
            (self.home / name).mkdir()
        (self.home / "shared").chmod(0o777)
        self.guests = [Guest(dialect, self.home) for dialect in RESPONSES]
        for guest in self.guests:
            guest.write_document(0)
        devlxd = DevLXD(
            f"--containers={self.home}/documents",
            "--location=here",
            *(f"--listen={name}={self.home}/{name}" for name in RESPONSES),
        )
        self.addCleanup(devlxd.stop)
        for guest in self.guests:
            guest.container.start()
            self.addCleanup(guest.container.stop)

    def test_at_once(self) -> None:
        """Each guest reads its own data only, in its dialect, while data changes."""
        with ThreadPoolExecutor() as pool, Barrier(self.home / "shared") as barrier:
            results = [pool.submit(guest.run) for guest in self.guests]
            arrived = [
                barrier.wait_for(guest.container.name.encode())[0]
                for guest in self.guests
            ]
            for connection in arrived:
                connection.sendall(b"x")
            for number in range(1, CHANGES + 1):
                for guest in self.guests:
                    guest.write_document(number)
            for guest, result in zip(self.guests, results, strict=True):
                found, events = result.result()
                self.check_responses(guest, found)
                self.check_state(guest, found)
                self.check_events(guest, events)

    def check_responses(self, guest: Guest, found: dict[str, Any]) -> None:
        """Check the responses for all paths except ``/1.0``."""
        not_found = {"lxd6": "Not Found\n"}.get(guest.dialect, "not found\n")
        self.assertEqual(found["GET /nope"], [[404, not_found, None]])
        for path, body in guest.responses().items():
            if path != "/1.0":
                self.assertEqual(found[f"GET {path}"], [[200, body, None]])
        values = [guest.value(number) for number in range(CHANGES + 1)]
        seen = [body for _, body, _ in found["GET /1.0/config/user.n"]]
        # Changes of a document that follow one another closely may be read as one.
        self.assertEqual(seen, [value for value in values if value in seen])

    def check_state(self, guest: Guest, found: dict[str, Any]) -> None:
        """Check the responses for ``/1.0``: two dialects have the guest state."""
        started, ready = (guest.responses(s)["/1.0"] for s in ("Started", "Ready"))
        if guest.dialect in ("lxd6", "incus"):
            expected = [[200, started, None], [200, ready, None]]
            patched = [[200, "", None]]
        else:
            expected = [[200, started, None]]
            patched = [[405, "method not allowed\n", "GET, HEAD"]]
        self.assertEqual(found["GET /1.0"], expected)
        self.assertEqual(found["PATCH /1.0"], patched)

    def check_events(self, guest: Guest, events: list[dict[str, Any]]) -> None:
        """Check that the events lead from the first value to the last, in order."""
        value = guest.value(0)
        for event in events:
            self.assertEqual(event["type"], "config")
            metadata = event["metadata"]
            self.assertEqual(metadata["key"], "user.n")
            self.assertEqual(metadata["old_value"], value)
            value = metadata["value"]
        has_events = guest.dialect != "apollo"
        self.assertEqual(value, guest.value(CHANGES if has_events else 0))
