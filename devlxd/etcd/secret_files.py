# -*- test-case-name: tests.etcd.test_secret_files -*-
"""Files with the secrets and certificates that etcd asks for."""

from __future__ import annotations

import os
import re
import stat

from OpenSSL.crypto import Error as CryptoError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from devlxd.etcd.location import EtcdLocation
from devlxd.files import open_regular
from devlxd.printable_text import printable_path

#: The maximum length of a password, in bytes, and of a file of certificates.
MAX_PASSWORD = 4096
MAX_CERTIFICATES = 1024 * 1024

#: One certificate in PEM.
_CERTIFICATE = re.compile(
    b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)


def read_password(path: str) -> str:
    """Return the password in a file: its content without the last line feed.

    :raises ValueError: if there is none, or other users of the host can read the file.
        The text is one line, and has nothing of the content.
    """
    content = _read(path, MAX_PASSWORD, is_secret=True).rstrip(b"\r\n")
    try:
        password = content.decode("utf-8")
    except UnicodeDecodeError:
        password = ""
    if not password or "\n" in password or "\0" in password:
        raise ValueError(f"{printable_path(path)}: not one line of text in UTF-8")
    return password


def tls_options(location: EtcdLocation, host: str) -> IOpenSSLClientConnectionCreator:
    """Return the options for a TLS connection, from the files as they are now.

    :param host: the name or the address that the certificate of the server must have.
    :raises ValueError: if a file cannot be used. The text is one line.
    """
    trust = platformTrust()
    if location.ca:
        trust = trustRootFromCertificates(_certificates(location.ca))
    client, chain = None, {}
    if location.cert:
        client = _private_certificate(location.cert, location.key)
        rest = [one.original for one in _certificates(location.cert)[1:]]
        chain = {"extraCertChain": rest} if rest else {}
    return optionsForClientTLS(host, trust, client, extraCertificateOptions=chain)


def _certificates(path: str) -> list[Certificate]:
    content = _read(path, MAX_CERTIFICATES)
    try:
        found = [*map(Certificate.loadPEM, _CERTIFICATE.findall(content))]
    except (CryptoError, ValueError):
        found = []
    if not found:
        raise ValueError(f"{printable_path(path)}: no certificate in PEM")
    return found


def _private_certificate(cert: str, key: str) -> PrivateCertificate:
    pem = _read(cert, MAX_CERTIFICATES), _read(key, MAX_CERTIFICATES, is_secret=True)
    if any(b"ENCRYPTED" in content for content in pem):
        # OpenSSL would ask for it on the terminal, and block the process.
        raise ValueError(f"{printable_path(key)}: it has a passphrase; remove that")
    try:
        loaded: PrivateCertificate = PrivateCertificate.loadPEM(b"\n".join(pem))
        return loaded
    except (CryptoError, ValueError, TypeError):
        raise ValueError(
            f"{printable_path(key)}: not the private key of {printable_path(cert)}"
        ) from None


def _read(path: str, max_size: int, is_secret: bool = False) -> bytes:
    """Return the content of a file.

    :raises ValueError: if it cannot be read, is too long, or is secret and other users
        of the host can read it.
    """
    shown = printable_path(path)
    try:
        with open(open_regular(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(max_size + 1)
    except OSError as error:
        raise ValueError(f"{shown}: {error.strerror}") from None
    if is_secret and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"{shown}: other users can read or write it (chmod o=)")
    if len(content) > max_size:
        raise ValueError(f"{shown}: longer than {max_size} bytes")
    return content


def check_files(location: EtcdLocation) -> None:
    """Check that all files of a location can be used now.

    :raises ValueError: if one cannot. The text is one line that names the file.
    """
    try:
        if location.user:
            read_password(location.password_file)
        if any(endpoint.is_tls for endpoint in location.endpoints):
            tls_options(location, "localhost")
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from None
