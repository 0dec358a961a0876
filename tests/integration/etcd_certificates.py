"""Certificates for etcd and its clients, without a common name (docs/fleet.rst)."""

from __future__ import annotations

import ssl
from pathlib import Path

from attrs import frozen

from tests.integration.processes import run


@frozen
class Identity:
    """The files of a certificate.

    :ivar certificate: the path of the certificate.
    :ivar key: the path of its private key.
    """

    certificate: Path
    key: Path


class Authority:
    """A certificate authority.

    :param home: an existing directory for its files.
    :ivar certificate: the path of its certificate.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.certificate = home / "ca.crt"
        run(
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "30"),
            *("-subj", "/O=fleet", "-keyout", str(home / "ca.key")),
            *("-out", str(self.certificate)),
        )

    def issue(self, name: str, *extensions: str) -> Identity:
        """Issue a certificate without a common name.

        :param name: begins the names of its files.
        :param extensions: as in the configuration of OpenSSL.
        """
        request = self._home / f"{name}.csr"
        identity = Identity(self._home / f"{name}.crt", self._home / f"{name}.key")
        run(
            *("openssl", "req", "-new", "-nodes", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/O=fleet"),
            *("-keyout", str(identity.key), "-out", str(request)),
        )
        file = self._home / f"{name}.ext"
        file.write_text("\n".join(extensions) + "\n")
        run(
            *("openssl", "x509", "-req", "-in", str(request), "-days", "30"),
            *("-CA", str(self.certificate), "-CAkey", str(self._home / "ca.key")),
            *("-CAcreateserial", "-extfile", str(file)),
            *("-out", str(identity.certificate)),
        )
        return identity

    def issue_server(self) -> Identity:
        """Issue the certificate of a member: its gateway is a client of its own."""
        return self.issue(
            "server",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "extendedKeyUsage=serverAuth,clientAuth",
        )

    def issue_client(self) -> Identity:
        """Issue the certificate of a client."""
        return self.issue("client", "extendedKeyUsage=clientAuth")

    def context(self, client: Identity) -> ssl.SSLContext:
        """Return what a client with a certificate connects with."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.load_cert_chain(client.certificate, client.key)
        return context
