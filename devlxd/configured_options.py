# -*- test-case-name: tests.test_configured_options -*-
"""Options that a file may also contain: ``--config``, and ``--limit``.

`devlxd.options` has the options themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from twisted.python import usage

from devlxd.config_file import (
    LIMIT_OPTION,
    ConfigFileError,
    KnownOptions,
    Setting,
    read_config,
)
from devlxd.limits import parse_limit, table
from devlxd.logs.choice import FORMATS, LEVELS, LogChoice
from devlxd.model import Limits
from devlxd.printable_text import printable
from devlxd.reloading import Reread

_CONFIG = "config"
LOG_LEVEL = "log-level"
LOG_FORMAT = "log-format"

#: The options that have one of a few values.
_CHOICES = {LOG_FORMAT: FORMATS, LOG_LEVEL: LEVELS}

#: The options in the file that come into force without a restart.
_LIVE = (LIMIT_OPTION, LOG_LEVEL)

#: The form of an error about one option.
_ABOUT_OPTION = re.compile(r"--([a-z-]+): (.*)", re.DOTALL)


class ConfiguredOptions(usage.Options):
    """Options that may be in a file as well; the command line takes precedence.

    A value that may be repeated is a list from the start (``self["listen"] = []``). The
    default of any other option is ``None``; a subclass replaces it after `read_config`.
    """

    optParameters: ClassVar[list[list[object]]] = [
        [
            _CONFIG,
            None,
            None,
            "A YAML file with more options: its keys are the names of these options, "
            "and limits, a mapping. Options on the command line take precedence.",
        ],
        [
            LOG_FORMAT,
            None,
            None,
            f"How to write the log: {', '.join(FORMATS)}; journal is for systemd. "
            "[default: as twistd does]",
        ],
        [
            LOG_LEVEL,
            None,
            None,
            f"Which lines to log: {', '.join(LEVELS)}, and all more severe ones. "
            "[default: info]",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self[LIMIT_OPTION] = []
        #: The options on the command line.
        self._given: frozenset[str] = frozenset()
        self._settings: list[Setting] = []

    def opt_limit(self, value: str) -> None:
        """NAME=VALUE: set a limit; may be repeated. --limit=help lists all limits."""
        if value == "help":
            print(table())  # noqa: T201 # asked for
            raise SystemExit(0)
        self[LIMIT_OPTION].append(_parse_limit(value))

    def getUsage(self, width: int | None = None) -> str:
        """See `usage.Options.getUsage`; the limits are added."""
        return f"{super().getUsage(width)}\n{table()}\n"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See `usage.Options.parseOptions`.

        :raises SystemExit: on an error; twistd itself would print all options and
            exit with status 0.
        """
        with self.exiting_on_error():
            super().parseOptions(options)

    def read_config(self) -> None:
        """Add the options of the file to those of the command line; check both.

        :raises UsageError: if there is a mistake in the file.
        """
        self._given = frozenset(
            option for option, value in self.items() if value not in (None, [], 0)
        )
        self._settings = self._read_settings()
        for setting in self._settings:
            if setting.option not in self._given or setting.option == LIMIT_OPTION:
                self._apply(setting)
        for option, known in _CHOICES.items():
            if self[option] is not None:
                _check_choice(option, self[option], known)

    def _read_settings(self) -> list[Setting]:
        """Return the options of the file, each of which is right by itself."""
        if self[_CONFIG] is None:
            return []
        try:
            settings = read_config(self[_CONFIG], self._known())
        except ConfigFileError as error:
            raise usage.UsageError(f"--{_CONFIG}: {error}") from None
        scratch = type(self)()
        for setting in settings:
            with self._naming_line_of(setting):
                scratch._apply(setting)
        return settings

    def _known(self) -> KnownOptions:
        lists = [option for option, value in self.items() if isinstance(value, list)]
        flags = [option for option, value in self.items() if isinstance(value, int)]
        texts = {*self} - {*lists, *flags, _CONFIG}
        return KnownOptions(sorted(texts), lists, flags)

    def _apply(self, setting: Setting) -> None:
        option, value = setting.option, setting.value
        if option == LIMIT_OPTION:
            # Those of the command line are in a list of their own.
            _parse_limit(value)
        elif option in _CHOICES:
            _check_choice(option, value, _CHOICES[option])
            self[option] = value
        elif isinstance(self[option], list):
            getattr(self, f"opt_{option.replace('-', '_')}")(value)
        else:
            self[option] = 1 if isinstance(self[option], int) else value

    def limits(self) -> Limits:
        """Return all limits, as the file and the command line set them."""
        return self._limits_with(self._settings)

    def _limits_with(self, settings: Iterable[Setting]) -> Limits:
        in_file = dict(
            _parse_limit(setting.value)
            for setting in settings
            if setting.option == LIMIT_OPTION
        )
        return Limits().with_values({**in_file, **dict(self[LIMIT_OPTION])})

    def reread(self) -> Reread:
        """Read the file of ``--config`` again; see `Reread`. Nothing is changed.

        :raises ValueError: if there is a mistake in the file; the text is one line.
        """
        try:
            return self._reread()
        except usage.UsageError as error:
            raise ValueError(str(error).removeprefix(f"--{_CONFIG}: ")) from None

    def _reread(self) -> Reread:
        settings = self._read_settings()
        level = self[LOG_LEVEL]
        if LOG_LEVEL not in self._given:
            levels = [one for one in settings if one.option == LOG_LEVEL]
            level = levels[-1].value if levels else None
        before, after = _values(self._settings), _values(settings)
        differing = sorted(
            option
            for option in {*before, *after} - {*_LIVE, *self._given}
            if before.get(option) != after.get(option)
        )
        limits = self._limits_with(settings)
        return Reread(self[_CONFIG], limits, level, differing)

    def make_log_choice(self, choice: LogChoice) -> None:
        """Make twistd write the log as ``--log-format`` and ``--log-level`` say.

        :param choice: is made, if the operator has chosen anything.
        :raises UsageError: if an option of twistd contradicts.
        """
        format, level, parent = self[LOG_FORMAT], self[LOG_LEVEL], self.parent
        if parent is None or (format is None and level is None):
            return
        option = LOG_LEVEL if format is None else LOG_FORMAT
        for other in ("logger", "syslog"):
            if parent.get(other):
                raise usage.UsageError(f"--{option}: use it without twistd --{other}")
        if format != "journal" and not parent.get("nodaemon"):
            raise usage.UsageError(f"--{option}: use it with twistd --nodaemon")
        if parent.get("logfile") not in (None, "-"):
            raise usage.UsageError(f"--{option}: use it without twistd --logfile")
        choice.make(format, level)
        parent["logger"] = "devlxd.logs.choice.observer"

    @contextmanager
    def exiting_on_error(self) -> Iterator[None]:
        """When a `UsageError` is raised, exit with its text on one line.

        If it is about an option of the file, the text names file and line.
        """
        try:
            yield
        except usage.UsageError as error:
            line = " ".join(self._with_place(str(error)).split())
            raise SystemExit(f"devlxd: {line}") from None

    def _with_place(self, text: str) -> str:
        match = _ABOUT_OPTION.fullmatch(text)
        if match is None or match[1] in self._given:
            return text
        settings = [one for one in self._settings if one.option == match[1]]
        named = [one for one in settings if one.value and one.value in match[2]]
        for setting in (*named, *settings):
            return (
                f"--{_CONFIG}: {self[_CONFIG]}:{setting.line}: {match[1]}: {match[2]}"
            )
        return text

    @contextmanager
    def _naming_line_of(self, setting: Setting) -> Iterator[None]:
        """Add the place of ``setting`` to the error that the block raises."""
        try:
            yield
        except usage.UsageError as error:
            reason = str(error).removeprefix("--")
            place = f"{self[_CONFIG]}:{setting.line}"
            raise usage.UsageError(f"--{_CONFIG}: {place}: {reason}") from None


def _parse_limit(text: str) -> tuple[str, int | float]:
    try:
        return parse_limit(text)
    except ValueError as error:
        raise usage.UsageError(f"--{LIMIT_OPTION}: {error}") from None


def _check_choice(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        must = f"must be one of {', '.join(known)}"
        raise usage.UsageError(f"--{option}: {printable(value)}: {must}")


def _values(settings: Iterable[Setting]) -> Mapping[str, list[str]]:
    """Return the values of each option, without their lines."""
    values: dict[str, list[str]] = {}
    for setting in settings:
        values.setdefault(setting.option, []).append(setting.value)
    return values
