# -*- test-case-name: tests.testing.test_pytest_plugin -*-
"""A pytest plugin with the fixture ``devlxd``.

Load it in the ``conftest.py`` of your tests::

    pytest_plugins = ["devlxd.testing.pytest_plugin"]

It is not an entry point of the group ``pytest11``: pytest would import it, and with it
Twisted and the server, in every run of everyone who has devlxd installed. Nothing else
in devlxd imports pytest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devlxd.testing.fake_devlxd import FakeDevLXD

__all__ = ["devlxd", "devlxd_dialect"]


@pytest.fixture
def devlxd_dialect() -> str:
    """Return the dialect of the fixture ``devlxd``.

    Override it, or parametrize it::

        @pytest.mark.parametrize("devlxd_dialect", ["lxd", "lxd6", "incus"])
    """
    return "lxd6"


@pytest.fixture
def devlxd(devlxd_dialect: str) -> Iterator[FakeDevLXD]:
    """Return a new `FakeDevLXD`, and check its end.

    The test fails if it leaves connections, delayed calls or unused failures, see
    `FakeDevLXD.assert_finished`.
    """
    fake = FakeDevLXD(dialect=devlxd_dialect)
    yield fake
    fake.assert_finished()
