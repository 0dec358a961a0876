# -*- test-case-name: tests.testing.test_trial_mixin -*-
"""A mixin for test cases of trial and of `unittest`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import TestCase

from devlxd.testing.fake_devlxd import FakeDevLXD

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object


class DevLXDMixin(_Base):
    """A mixin that gives each test a `FakeDevLXD`, and checks its end.

    A test fails if it leaves connections, delayed calls or unused failures, see
    `FakeDevLXD.assert_finished`. Put the mixin before the test case. A ``setUp`` of
    your own must call that of the mixin first.

    :cvar dialect: the name of the dialect.
    :ivar devlxd: the `FakeDevLXD`.
    """

    dialect = "lxd6"

    def setUp(self) -> None:
        """Make the `FakeDevLXD`."""
        super().setUp()
        self.devlxd = FakeDevLXD(dialect=self.dialect)
        # Cleanups run in reverse order: those of the test come first.
        self.addCleanup(self.devlxd.assert_finished)
