"""A test that runs the commands of docs/fleet.rst with a real etcd."""

from __future__ import annotations

import contextlib
import shlex

from tests.integration.etcd_members import PROGRAMS, EtcdMember, reserve_port
from tests.integration.guest_listener import GuestListener, ask, over
from tests.integration.lxc import missing_requirement
from tests.integration.processes import GuestError, wait_until
from tests.integration.test_readme import ReadmeTestCase
from tests.readme import FLEET, blocks_of


class FleetPageTests(ReadmeTestCase):
    """The commands of the page, one after the other."""

    skip = missing_requirement({**PROGRAMS, "openssl": "openssl"})

    def setUp(self) -> None:
        super().setUp()
        reserved = reserve_port()
        self.addCleanup(reserved.close)
        address = f"https://127.0.0.1:{reserved.getsockname()[1]}"
        self.replacements |= {
            "https://etcd1.example.org:2379": address,
            "DNS:etcd1.example.org": "IP:127.0.0.1",
            "/etc/fleet": f"{self.home}/fleet",
        }
        self.connect = over(f"{self.home}/run/sock")

    def start_member(self) -> None:
        """Issue the certificates, and start etcd with them."""
        *certificates, options = blocks_of(FLEET, "Certificates")
        for block in certificates:
            self.run_block(block)
        member = EtcdMember(self.home, *shlex.split(self.adapt(options)))
        self.addCleanup(member.stop)
        member.start()

    def is_ready(self, where: str) -> bool:
        """Return whether the operator can read."""
        with contextlib.suppress(GuestError):
            self.run_block(f"{where}\netcdctl get /")
            return True
        return False

    def value(self) -> tuple[int, str]:
        """Ask for the key as the guest; return the status and the body."""
        return ask(self.connect, "/1.0/config/user.foo")

    def test_page(self) -> None:
        """A guest reads what the operator puts, over TLS and with a password."""
        self.start_member()
        where, fleet, host = blocks_of(FLEET, "Users and roles")
        wait_until(lambda: self.is_ready(where), "etcd answers")
        self.run_block(where + fleet + host)
        # The last line of the block logs the operator in.
        operator = where + fleet.splitlines()[-1] + f"\ncd {self.home}\n"

        (serve,) = blocks_of(FLEET, "Serve a host")
        self.serve(serve, f"--assume={self.name}")
        change, remove = blocks_of(FLEET, "Put, change and remove containers")
        *put, change, names = change.splitlines()
        said = self.run_block(operator + "\n".join(put))
        self.assertEqual(said, "OK\nconfig: {user.foo: bar}\n\n")
        wait_until(lambda: self.value() == (200, "bar"), "the first value")

        listener = GuestListener(self.connect)
        listener.listen()
        self.addCleanup(listener.stop)
        said = self.run_block(operator + f"{change}\n{names}")
        self.assertEqual(said, f"OK\n/devlxd/h1/{self.name}\n\n")
        wait_until(lambda: listener.other, "an event")
        self.assertEqual(listener.other[0]["metadata"]["value"], "baz")
        self.run_block(operator + remove)
        wait_until(lambda: listener.has_ended, "the end of the container")
