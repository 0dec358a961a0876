# -*- test-case-name: tests.containers.test_directory_failures -*-
"""Logging each likely mistake in documents once."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from devlxd.containers.document_paths import DocumentPath
from devlxd.containers.document_warnings import DocumentWarning
from devlxd.log_limit import RateLimitedLogger


class WarningLog:
    """A log of likely mistakes: each once, and again if it recurs after it was fixed.

    :param limited_log: receives the warnings, except those about ignored files.
    """

    _log = Logger()

    def __init__(self, limited_log: RateLimitedLogger) -> None:
        self._limited_log = limited_log
        self._logged: dict[str, set[str]] = {}
        self._ignored_files: set[str] = set()

    def update(
        self, name: str, path: DocumentPath, warnings: Iterable[DocumentWarning]
    ) -> None:
        """Log the warnings about the container ``name`` that are new.

        :param path: the document that the warnings refer to.
        """
        lines = {warning.text: warning.line for warning in warnings}
        logged = self._logged.pop(name, set())
        for text in lines.keys() - logged:
            self._limited_log.warn(
                "{where}: {problem}",
                of=(name, text),
                where=path.printable(lines[text]),
                problem=text,
            )
        if lines:
            self._logged[name] = {*lines}

    def discard(self, name: str) -> None:
        """Forget the warnings about the container ``name``."""
        self._logged.pop(name, None)

    def update_ignored_file(self, name: str, path: str) -> None:
        """Log that a file that was probably meant as a document is ignored.

        :param name: the name of the file.
        :param path: its path for the log line; empty if there is no such file.
        """
        if not path:
            self._ignored_files.discard(name)
        elif name not in self._ignored_files:
            self._ignored_files.add(name)
            self._log.warn(
                "{path} is ignored: documents are named NAME.yaml, NAME.yml or "
                "NAME.json",
                path=path,
            )

    def forget_all(self) -> None:
        """Forget all warnings, so that they are logged again."""
        self._logged.clear()
        self._ignored_files.clear()
