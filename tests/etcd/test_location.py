"""Tests of `devlxd.etcd.location`."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.location import EtcdEndpoint, EtcdLocation, is_etcd
from devlxd.etcd.messages import KeyRange


class LocationTests(SynchronousTestCase):
    """The value of ``--containers etcd:...``."""

    def assert_refused(self, text: str, reason: str) -> None:
        """Check that a location is refused with one line."""
        error = self.assertRaises(ValueError, EtcdLocation.parse, text)
        self.assertIn(reason, str(error))
        self.assertTrue(str(error).isprintable(), str(error))
        self.assertNotIn("swordfish", str(error))

    def test_all(self) -> None:
        """All parameters; the values are percent-decoded."""
        location = EtcdLocation.parse(
            "etcd:https://one:1,https://[fe80::1]:2/,unix:/run/etcd.sock:0"
            "?prefix=/devlxd/h%20%26/&user=h1&password-file=/p&ca=/ca&cert=/c&key=k"
        )
        self.assertEqual(
            location.endpoints,
            (
                EtcdEndpoint("https://one:1", "one", 1, True),
                EtcdEndpoint("https://[fe80::1]:2", "fe80::1", 2, True),
                EtcdEndpoint("unix:/run/etcd.sock:0", path="/run/etcd.sock:0"),
            ),
        )
        self.assertEqual(location.prefix, "/devlxd/h &/")
        self.assertEqual((location.user, location.password_file), ("h1", "/p"))
        files = (location.ca, location.cert, location.key)
        self.assertEqual(files, ("/ca", "/c", os.path.abspath("k")))
        self.assertEqual(str(location), "etcd:/devlxd/h &/")

    def test_not_utf8(self) -> None:
        """A prefix may have any bytes, as keys may."""
        location = EtcdLocation.parse("etcd:http://one?prefix=/%FF/")
        self.assertEqual(KeyRange.of_prefix(location.prefix).start, b"/\xff/")

    def test_least(self) -> None:
        """An endpoint and a prefix are enough; the port is that of etcd."""
        location = EtcdLocation.parse("etcd:http://one?prefix=/h1/")
        self.assertEqual(
            location, EtcdLocation((EtcdEndpoint("http://one", "one", 2379),), "/h1/")
        )
        self.assertTrue(is_etcd("etcd:x"))
        self.assertFalse(is_etcd("/etcd:x"))

    def test_endpoints(self) -> None:
        """Each mistake in an endpoint has its reason."""
        for endpoint, reason in (
            ("", "write an endpoint after etcd:"),
            ("one:2379", "must have the form http://HOST:PORT"),
            ("ftp://one", "must have the form"),
            ("http://", "write only a host and a port"),
            ("http://one/v3", "write only a host and a port"),
            ("http://one#x", "write only a host and a port"),
            ("http://one:x", "not a host and a port"),
            ("http://[one", "not a host and a port"),
            ("http://u:swordfish@one", "an endpoint has no user and no password"),
            ("unix:etcd.sock", "the path must be absolute"),
            ("http://one,http://one", "an endpoint is given twice"),
            ("http://one,", "must have the form"),
        ):
            self.assert_refused(f"etcd:{endpoint}?prefix=/h1/", reason)

    def test_parameters(self) -> None:
        """Each mistake in a parameter has its reason."""
        for query, reason in (
            ("", "prefix is missing"),
            ("prefix=", "prefix must not be empty"),
            ("prefix=/h1", "must end with /"),
            ("prefix=/a/&prefix=/b/", "prefix is given twice"),
            ("prefix=/h1/&prefx=x", "no parameter prefx (did you mean 'prefix'?)"),
            ("prefix=/h1/&password=swordfish", "did you mean 'password-file'?"),
            ("prefix=/h1/&user=h1", "user and password-file need each other"),
            ("prefix=/h1/&password-file=/p", "user and password-file need each"),
            ("prefix=/h1/&cert=/c", "cert and key need each other"),
            ("prefix=/h1/&ca=/ca", "ca needs an endpoint https://"),
            ("prefix=/h1/&user=%00&password-file=/p", "user must not be empty"),
        ):
            self.assert_refused(f"etcd:http://one?{query}", reason)
