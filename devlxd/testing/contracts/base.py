# -*- test-case-name: tests.test_testing -*-
"""The base class of contract suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

if TYPE_CHECKING:
    ContractBase = SynchronousTestCase
else:
    # trial would run a test case in each module that imports it.
    ContractBase = object
