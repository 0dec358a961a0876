"""Tests of `devlxd.access_keys`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.access_keys import access_keys
from devlxd.guestapi.dialects import DIALECTS


class AccessKeysTests(SynchronousTestCase):
    """The config keys whose mistakes are found."""

    def test_hidden(self) -> None:
        """Keys that only dialects which are not served show are known as hidden."""
        lxd, lxd6 = DIALECTS["lxd"], DIALECTS["lxd6"]
        self.assertEqual(access_keys([lxd]).hidden, ("cloud-init.",))
        self.assertEqual(access_keys([lxd, lxd6]).hidden, ())

    def test_unknown(self) -> None:
        """If it is unknown which dialects are served, no key is hidden."""
        keys = access_keys([])
        self.assertEqual(keys.hidden, ())
        self.assertEqual(keys.exported, ("user.", "cloud-init."))
