"""Tests with a real etcd: the gateway, authentication, TLS, and the store on it.

They need no containers and no root, but Debian's ``etcd-server``.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as installed
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from devlxd.containers.etcd_store import EtcdStore
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.gateway import EtcdGateway
from devlxd.etcd.interfaces import IEtcdGateway
from devlxd.etcd.location import EtcdLocation
from devlxd.etcd.messages import KeyRange, RangeAnswer, RangeRequest
from devlxd.interfaces import IDevLXDReactor
from devlxd.testing import RecordingStoreObserver
from devlxd.testing.contracts import EtcdGatewayContract
from tests.integration.processes import TIMEOUT
from tests.integration.small_etcd import SmallEtcd

reactor = cast(IDevLXDReactor, installed)

PREFIX = "/devlxd/h1/"

KEYS = KeyRange.of_prefix(PREFIX)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    end = reactor.seconds() + TIMEOUT
    while not condition():
        if reactor.seconds() > end:
            raise AssertionError("the condition is still false")
        await deferLater(reactor, 0.005, lambda: None)


class EtcdTestCase(TestCase):
    """A base class of tests with a real etcd."""

    flags: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.etcd = SmallEtcd(*self.flags)
        self.addCleanup(self.etcd.remove)
        self.etcd.start()

    def location(self, parameters: str = "") -> EtcdLocation:
        """Return the location of the documents."""
        text = f"etcd:unix:{self.etcd.path}?prefix={PREFIX}{parameters}"
        return EtcdLocation.parse(text)

    def gateway_to(self, location: EtcdLocation) -> EtcdGateway:
        """Return a new gateway to the first endpoint of a location."""
        gateway = EtcdGateway(location, location.endpoints[0], reactor)
        self.addCleanup(gateway.close)
        return gateway

    async def ask_all(self, gateway: EtcdGateway) -> RangeAnswer:
        """Ask for all keys."""
        return await gateway.range(RangeRequest(KEYS), 1024 * 1024, 5)

    async def problem_of(self, gateway: EtcdGateway) -> EtcdError:
        """Ask for all keys, and return the error."""
        try:
            await self.ask_all(gateway)
        except EtcdError as error:
            return error
        raise AssertionError("etcd has answered")


class EtcdGatewayTests(EtcdGatewayContract, EtcdTestCase):
    """The contract of a member of etcd, with a real one."""

    def setUp(self) -> None:
        """See `EtcdGatewayContract.setUp`."""
        EtcdTestCase.setUp(self)
        EtcdGatewayContract.setUp(self)

    def make_gateway(self) -> IEtcdGateway:
        """See `EtcdGatewayContract.make_gateway`."""
        return self.gateway_to(self.location())

    async def change(self, changes: Mapping[str, str | None]) -> None:
        """See `EtcdGatewayContract.change`."""
        self.etcd.change(changes)

    async def compact(self, revision: int) -> None:
        """See `EtcdGatewayContract.compact`."""
        body = {"revision": str(revision), "physical": True}
        self.etcd.call("/v3/kv/compaction", body)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See `EtcdGatewayContract.wait_until`."""
        await wait_until(condition)


class AuthenticationTests(EtcdTestCase):
    """Users, passwords and tokens."""

    flags = ("--auth-token-ttl=2", "--bcrypt-cost=4")

    def setUp(self) -> None:
        super().setUp()
        self.etcd.enable_auth("h1", "swordfish", PREFIX)
        self.etcd.put(f"{PREFIX}c1", "config: {}")
        self.password = Path(tempfile.mkdtemp(dir=".")).absolute() / "password"
        self.password.touch(0o600)
        self.password.write_text("swordfish\n")
        self.with_user = self.location(f"&user=h1&password-file={self.password}")

    async def test_user(self) -> None:
        """A user reads its prefix; the token is renewed when etcd has forgotten it."""
        gateway = self.gateway_to(self.with_user)
        self.assertEqual((await self.ask_all(gateway)).count, 1)
        self.etcd.kill()
        self.etcd.start()
        self.assertEqual((await self.ask_all(gateway)).count, 1)

    async def test_refused(self) -> None:
        """Without a user, or with a wrong password, etcd says why it refuses."""
        error = await self.problem_of(self.gateway_to(self.location()))
        self.assertIn("user name is empty", str(error))
        self.password.write_text("wrong")
        error = await self.problem_of(self.gateway_to(self.with_user))
        self.assertIn("authentication failed", str(error))
        self.assertNotIn("wrong", repr(error) + repr(self.with_user))

    async def test_other_prefix(self) -> None:
        """A user cannot read the prefix of another host."""
        text = f"etcd:unix:{self.etcd.path}?prefix=/devlxd/h2/&user=h1"
        location = EtcdLocation.parse(f"{text}&password-file={self.password}")
        keys = KeyRange.of_prefix(location.prefix)
        with self.assertRaisesRegex(EtcdError, "permission denied"):
            await self.gateway_to(location).range(RangeRequest(keys), 1024, 5)

    async def test_password_file(self) -> None:
        """A file that others can read is refused when it is needed, by its name."""
        self.password.chmod(0o644)
        error = await self.problem_of(self.gateway_to(self.with_user))
        self.assertIn(f"{self.password}: other users can read", str(error))

    async def test_not_needed(self) -> None:
        """A user is not needed while authentication is off, and later is."""
        gateway = self.gateway_to(self.with_user)
        self.etcd.call("/v3/auth/disable", {})
        self.assertEqual((await self.ask_all(gateway)).count, 1)
        self.etcd.token = ""
        self.etcd.call("/v3/auth/enable", {})
        self.assertEqual((await self.ask_all(gateway)).count, 1)
        self.etcd.log_in()

    async def test_store(self) -> None:
        """A store goes on when the password was wrong, and is right later."""
        self.password.write_text("wrong")
        store = EtcdStore(PREFIX, [self.gateway_to(self.with_user)], reactor)
        self.addCleanup(store.stopService)
        store.startService()
        await store.settled()
        self.assertIn("authentication failed", store.problem() or "")
        self.password.write_text("swordfish")
        await store.loaded()
        self.assertEqual(list(store.names()), ["c1"])
        # Longer than the life of a token that is not used.
        await deferLater(reactor, 3, lambda: None)
        self.etcd.log_in()
        self.etcd.put(f"{PREFIX}c2", "config: {}")
        await wait_until(lambda: store.has("c2"))


class StoreTests(EtcdTestCase):
    """The store with a real etcd."""

    async def test_killed(self) -> None:
        """A guest's store sees each change once while etcd is killed and started."""
        kept = Path(tempfile.mkdtemp(dir=".")) / "kept"
        gateway = self.gateway_to(self.location())
        store = EtcdStore(PREFIX, [gateway], reactor, str(kept))
        observer = RecordingStoreObserver()
        store.watch(observer)
        self.addCleanup(store.stopService)
        store.startService()
        await store.loaded()
        for number in range(60):
            if number % 20 == 10:
                self.etcd.kill()
                self.etcd.start()
            self.etcd.put(f"{PREFIX}c1", f"config: {{user.a: {number}}}")
        await wait_until(lambda: len(observer.changes) >= 60)
        values = [new.config["user.a"] for _, _, new in observer.changes if new]
        self.assertEqual(values, [str(number) for number in range(60)])
        self.etcd.kill()
        self.etcd.wipe()
        self.etcd.start()
        self.etcd.put(f"{PREFIX}c2", "config: {user.a: 1}")
        await wait_until(lambda: list(store.names()) == ["c2"])


class TLSTests(EtcdTestCase):
    """TLS with client certificates."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=".")).absolute()
        authority = Authority(self.directory, "ca")
        authority.issue("server", has_name=False)
        authority.issue("client", has_name=False)
        Authority(self.directory, "other").issue("stranger", has_name=False)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        files = self.directory
        self.flags = (
            f"--listen-client-urls=https://127.0.0.1:{self.port}",
            f"--cert-file={files}/server.pem",
            f"--key-file={files}/server.key",
            f"--trusted-ca-file={files}/ca.pem",
            "--client-cert-auth",
        )
        super().setUp()
        self.etcd.put(f"{PREFIX}c1", "config: {}")

    def tls_location(self, ca: str = "ca", client: str = "client") -> EtcdLocation:
        """Return the location of the documents, with these certificates."""
        files = self.directory
        text = f"etcd:https://127.0.0.1:{self.port}?prefix={PREFIX}&ca={files}/{ca}.pem"
        if client:
            text += f"&cert={files}/{client}.pem&key={files}/{client}.key"
        return EtcdLocation.parse(text)

    async def test_certificates(self) -> None:
        """The certificates of both sides are checked."""
        gateway = self.gateway_to(self.tls_location())
        self.assertEqual((await self.ask_all(gateway)).count, 1)
        error = await self.problem_of(self.gateway_to(self.tls_location("other")))
        self.assertIn("TLS: certificate verify failed", str(error))
        for client in ("stranger", ""):
            location = self.tls_location(client=client)
            error = await self.problem_of(self.gateway_to(location))
            self.assertIn("TLS: ", str(error))

    async def test_missing_file(self) -> None:
        """A file that is missing when it is needed is named."""
        gateway = self.gateway_to(self.tls_location())
        os.unlink(self.directory / "client.pem")
        error = await self.problem_of(gateway)
        self.assertIn("client.pem: No such file", str(error))


class Authority:
    """A certificate authority.

    :param directory: where it writes ``NAME.pem`` and ``NAME.key``.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._builder(self._name, self._key, is_authority=True))

    def issue(self, name: str, has_name: bool) -> None:
        """Write a key and a certificate.

        :param has_name: whether its subject has a common name.
        """
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        subject = x509.Name(attributes if has_name else [])
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key, is_authority=False)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=not has_name)
        self._write(name, builder)
        self._write_file(
            f"{name}.key",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool
    ) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )

    def _write(self, name: str, builder: x509.CertificateBuilder) -> None:
        certificate = builder.sign(self._key, hashes.SHA256())
        content = certificate.public_bytes(serialization.Encoding.PEM)
        self._write_file(f"{name}.pem", content)

    def _write_file(self, name: str, content: bytes) -> None:
        path = self._directory / name
        path.touch(0o600)
        path.write_bytes(content)
