"""Tests of a devlxd whose real etcd asks for passwords and certificates."""

from __future__ import annotations

from pathlib import Path

from tests.integration.etcd_cases import AT_ONCE, KEY, PREFIX, EtcdTestCase
from tests.integration.etcd_certificates import Authority, Identity
from tests.integration.etcd_client import EtcdClient
from tests.integration.etcd_members import PROGRAMS, EtcdMember, reserve_port
from tests.integration.etcd_writer import CountingWriter, document
from tests.integration.lxc import missing_requirement
from tests.integration.processes import wait_until

#: Tokens expire soon, and passwords are checked fast.
OPTIONS = ("--auth-token-ttl=2", "--bcrypt-cost=4")

PASSWORD = "correct-horse"

#: Must never be seen in a log.
WRONG = "battery-staple"

#: What devlxd may read.
RANGE = (PREFIX, "--prefix=true")


class AccessTestCase(EtcdTestCase):
    """A base class with an etcd in which each host may read its own prefix only."""

    def restrict(self, member: EtcdMember, password: str = PASSWORD) -> None:
        """Make the users, and switch their check on."""
        for command in (
            "user add root:root",
            "user grant-role root root",
            "role add h1",
            f"user add h1:{password}",
            "user grant-role h1 h1",
            "auth enable",
        ):
            member.control(*command.split())
        member.client.log_in("root", "root")
        self.grant(member)

    def as_root(self, member: EtcdMember, *arguments: str) -> None:
        """Run ``etcdctl`` as root."""
        member.control("--user=root:root", *arguments)

    def grant(self, member: EtcdMember) -> None:
        """Permit the host to read its prefix."""
        command = ("role", "grant-permission", "h1", "read", *RANGE)
        self.as_root(member, *command)

    def revoke(self, member: EtcdMember) -> None:
        """Undo `grant`."""
        self.as_root(member, "role", "revoke-permission", "h1", *RANGE)

    def password_file(self, password: str = PASSWORD) -> str:
        """Write a password; return the part of the option that names its file."""
        path = self.home / "password"
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        return f"&user=h1&password-file={path}"

    def check_secrets(self) -> None:
        """Check that no password is in the log."""
        log = "".join(self.devlxd.log)
        self.assertNotIn(PASSWORD, log)
        self.assertNotIn(WRONG, log)


class PasswordTests(AccessTestCase):
    """etcd asks for a name and a password."""

    def setUp(self) -> None:
        super().setUp()
        self.member = self.start_member(*OPTIONS)
        self.relay = self.start_relay(self.member)
        self.writer = CountingWriter([self.member.client], KEY)
        self.writer.write()

    def test_expired_tokens(self) -> None:
        """A token that is old, or forgotten by etcd, costs no change."""
        self.restrict(self.member)
        self.serve(self.relay.path, query=self.password_file())
        listener = self.listen()
        for _ in range(3):
            with self.writer.writing():
                listener.wait_for_more()
            self.relay.cut()
            # Tokens are forgotten when etcd restarts.
            self.member.stop()
            self.member.start()
            self.member.wait()
            self.writer.write(10)
            self.relay.join()
            listener.wait_for(self.writer.number)
        # A token expires when it was not used for two seconds.
        own = EtcdClient(self.member.socket)
        own.log_in("h1", PASSWORD)
        self.relay.cut()
        with self.writer.writing():
            wait_until(lambda: self.writer.number > 300, "some seconds of changes")
        self.relay.join()
        self.check_all_heard(listener, self.writer)
        self.check_secrets()

    def test_wrong_password(self) -> None:
        """A wrong password is logged without it, and is corrected in etcd."""
        self.restrict(self.member)
        self.serve(self.relay.path, query=self.password_file(WRONG), options=AT_ONCE)
        self.devlxd.wait_for("authentication failed")
        self.assertEqual(self.value()[0], 500)
        self.writer.write(3)
        user = ("user", "passwd", "h1", "--interactive=false")
        self.member.control("--user=root:root", *user, stdin=f"{WRONG}\n")
        self.wait_for_value(self.writer.number)
        self.check_all_heard(self.listen(), self.writer, self.writer.number)
        self.check_secrets()

    def test_revoked(self) -> None:
        """While the host may not read its prefix, guests are served what is known."""
        self.restrict(self.member)
        self.serve(self.relay.path, query=self.password_file())
        listener = self.listen()
        self.revoke(self.member)
        self.relay.close_connections()
        self.writer.write(5)
        self.devlxd.wait_for("permission denied")
        self.assertEqual(self.value(), (200, "1"))
        self.grant(self.member)
        self.check_all_heard(listener, self.writer)

    def test_switched_on(self) -> None:
        """Users are made, and their check switched on, while devlxd runs."""
        self.serve(self.relay.path, query=self.password_file())
        listener = self.listen()
        self.restrict(self.member)
        self.writer.write(5)
        listener.wait_for(self.writer.number)
        self.relay.close_connections()
        self.writer.write(5)
        listener.wait_for(self.writer.number)
        self.as_root(self.member, "auth", "disable")
        self.member.client.log_out()
        self.writer.write(5)
        listener.wait_for(self.writer.number)
        self.relay.close_connections()
        self.check_all_heard(listener, self.writer)


class TLSTests(AccessTestCase):
    """etcd asks for a client's certificate, and for a name and a password."""

    skip = missing_requirement({**PROGRAMS, "openssl": "openssl"})

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self._directory("fleet"))
        self.client = self.authority.issue_client()
        server = self.authority.issue_server()
        reserved = reserve_port()
        self.addCleanup(reserved.close)
        self.port = reserved.getsockname()[1]
        self.member = self.start_member(
            *OPTIONS,
            # The UNIX socket is for the operator.
            f"--listen-client-urls=unix://n1.sock:0,https://127.0.0.1:{self.port}",
            "--client-cert-auth",
            f"--trusted-ca-file={self.authority.certificate}",
            f"--cert-file={server.certificate}",
            f"--key-file={server.key}",
        )
        self.restrict(self.member)
        self.writer = CountingWriter([self.member.client], KEY)
        self.writer.write()

    def _directory(self, name: str) -> Path:
        path = self.home / name
        path.mkdir()
        return path

    def query(self, authority: Authority, client: Identity | None) -> str:
        """Return the part of the option that names the files."""
        files = f"&ca={authority.certificate}"
        if client is not None:
            files += f"&cert={client.certificate}&key={client.key}"
        return self.password_file() + files

    def test_certificates(self) -> None:
        """Changes arrive over TLS, by the name and by the address of the host."""
        for host in ("127.0.0.1", "localhost"):
            query = self.query(self.authority, self.client)
            self.serve(f"https://{host}:{self.port}", query=query)
            listener = self.listen()
            first = self.writer.number
            self.writer.write(200)
            self.check_all_heard(listener, self.writer, first)
            self.check_secrets()
            self.stop_serving(self.devlxd)

    def test_other_prefix(self) -> None:
        """The host's name and password are good for its own prefix only."""
        client = EtcdClient(
            ("127.0.0.1", self.port), self.authority.context(self.client)
        )
        client.log_in("h1", PASSWORD)
        self.assertEqual(client.get(KEY).value, document(1))
        for key in ("/devlxd/h10/c1", "/devlxd/h2/c1", "/"):
            with self.assertRaisesRegex(Exception, "permission denied"):
                client.get(key)
        with self.assertRaisesRegex(Exception, "permission denied"):
            client.put(KEY, "")

    def test_refused(self) -> None:
        """Without the right certificates devlxd knows nothing, and says so once."""
        other = Authority(self._directory("other"))
        cases = {
            "no certificate": self.query(self.authority, None),
            "foreign certificate": self.query(self.authority, other.issue_client()),
            "foreign authority": self.query(other, self.client),
        }
        for case, query in cases.items():
            devlxd = self.serve(
                f"https://127.0.0.1:{self.port}", query=query, options=AT_ONCE
            )
            line = devlxd.wait_for("etcd")
            self.assertEqual(self.value()[0], 500, case)
            devlxd.check_running()
            self.stop_serving(devlxd)
            log = "".join(devlxd.log)
            self.assertEqual(log.count(line.partition("]")[2]), 1, f"{case}: {log}")
