# -*- test-case-name: tests.containers.test_directory_failures -*-
"""Logging each likely mistake in documents once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twisted.logger import Logger

from devlxd.containers.document_warnings import DocumentWarning
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Fault


class WarningLog:
    """A log of likely mistakes: each once, and again if it recurs after it was fixed.

    :param limited_log: receives the warnings, except those about ignored files.
    """

    _log = Logger()

    def __init__(self, limited_log: RateLimitedLogger) -> None:
        self._limited_log = limited_log
        self._logged: dict[str, set[str]] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._ignored_files: dict[str, Fault] = {}

    def update(
        self,
        name: str,
        file: str,
        warnings: Iterable[DocumentWarning],
        id_warning: DocumentWarning | None,
    ) -> None:
        """Log the warnings about the container ``name`` that are new.

        :param file: the printable place of the document that the warnings refer to.
        :param id_warning: a warning that depends on the id of another container.
        """
        faults = [warning.fault_in(file, name) for warning in warnings]
        of_id = [] if id_warning is None else [id_warning.fault_in(file, name)]
        logged = self._logged.get(name, set())
        for fault in (*faults, *of_id):
            if fault.text not in logged:
                self._limited_log.warn(
                    "{fault}", of=(name, fault.text), fault=str(fault), name=name
                )
        self.discard(name)
        if faults or of_id:
            self._logged[name] = {fault.text for fault in (*faults, *of_id)}
        if faults:
            self._faults[name] = faults

    def discard(self, name: str) -> None:
        """Forget the warnings about the container ``name``."""
        self._logged.pop(name, None)
        self._faults.pop(name, None)

    def update_ignored_file(self, name: str, fault: Fault | None) -> None:
        """Log that a file that was probably meant as a document is ignored.

        :param name: the name of the file.
        :param fault: ``None`` if there is no such file.
        """
        if fault is None:
            self._ignored_files.pop(name, None)
        elif name not in self._ignored_files:
            self._ignored_files[name] = fault
            self._log.warn("{fault}", fault=str(fault))

    def faults(self) -> Iterator[Fault]:
        """Iterate over the warnings that stand, except for those about ids."""
        for faults in self._faults.values():
            yield from faults
        yield from self._ignored_files.values()

    def forget_all(self) -> None:
        """Log all warnings again when their documents are read again."""
        self._logged.clear()
        self._ignored_files.clear()
