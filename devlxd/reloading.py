# -*- test-case-name: tests.test_reloading -*-
"""Reloading, without a restart: documents, images, limits and the log level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from twisted.logger import Logger

from devlxd.limits import CurrentLimits, changed
from devlxd.logs.choice import LogChoice
from devlxd.model import Limits


@frozen
class Reread:
    """What the file of ``--config`` says now, together with the command line.

    :ivar path: the file; ``None`` without ``--config``.
    :ivar limits: all limits.
    :ivar log_level: the value of ``--log-level``; ``None`` if it is not given.
    :ivar needs_restart: the names of other options whose values in the file differ from
        those at the start.
    """

    path: str | None
    limits: Limits
    log_level: str | None
    needs_restart: Sequence[str]


@frozen
class Reloaded:
    """What a reload has done.

    :ivar changed: what was changed, each with its new value: the names of limits, and
        ``log-level``.
    :ivar needs_restart: the names of the options in the file whose new values need a
        restart.
    :ivar problem: the mistake in the file, because of which nothing of it was used;
        empty without one.
    """

    changed: Sequence[str] = ()
    needs_restart: Sequence[str] = ()
    problem: str = ""


class Reloader:
    """Reloads everything that can be reloaded while devlxd serves guests.

    :param reread: reads the file of ``--config`` again; raises `ValueError` with a text
        of one line if there is a mistake in it.
    :param limits: the limits that are in force.
    :param choice: the log level that is in force.
    :param others: functions that read the documents and the images again.
    """

    _log = Logger()

    def __init__(
        self,
        reread: Callable[[], Reread],
        limits: CurrentLimits,
        choice: LogChoice,
        others: Iterable[Callable[[], None]],
    ) -> None:
        self._reread = reread
        self._limits = limits
        self._choice = choice
        self._others = others

    def reload(self) -> Reloaded:
        """Reload, and log what was done; a mistake in the file changes no option."""
        try:
            reloaded = self._apply(self._reread())
        except ValueError as error:
            reloaded = Reloaded(problem=str(error))
            self._log.error(
                "--config: {problem}; everything in it stays as it was",
                problem=str(error),
            )
        for reload in self._others:
            reload()
        return reloaded

    def _apply(self, new: Reread) -> Reloaded:
        limits = [
            f"{n}={v}" for n, v in changed(self._limits.value, new.limits).items()
        ]
        needs_restart = [*new.needs_restart]
        self._limits.value = new.limits
        if limits:
            self._log.info("limits have changed: {changes}", changes=", ".join(limits))
        level = self._change_level(new.log_level, needs_restart)
        if needs_restart:
            self._log.warn(
                "restart devlxd to apply what has changed in {path}: {options}",
                path=new.path,
                options=", ".join(needs_restart),
            )
        return Reloaded((*limits, *level), tuple(needs_restart))

    def _change_level(self, value: str | None, needs_restart: list[str]) -> list[str]:
        if not self._choice.is_made:
            # twistd writes the log in its own way until the next start.
            needs_restart += ["log-level"] if value is not None else []
            return []
        if not self._choice.set_level(value):
            return []
        level = self._choice.level
        self._log.info("the log level is {now} now", now=level)
        return [f"log-level={level}"]
