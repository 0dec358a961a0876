# -*- test-case-name: tests.test_testing -*-
"""The base class of contract suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

if TYPE_CHECKING:
    ContractBase = SynchronousTestCase
else:
    # If the suites were test cases, trial would run them in each module that
    # imports them.
    ContractBase = object
