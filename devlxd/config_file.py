# -*- test-case-name: tests.test_config_file -*-
"""The file of ``--config``: options in YAML, and what is wrong with them.

Its keys are the names of the long options. The value of an option is one text, that
of an option that may be repeated a list of texts or one text, and that of a flag
``true`` or ``false``. ``limits`` is a mapping of the names of limits to their values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import yaml
from attrs import frozen

from devlxd.limits import hint
from devlxd.printable_text import printable

#: The maximum length of the file, in bytes.
MAX_SIZE = 64 * 1024

#: The mapping of limits, and the option that sets one of them.
LIMITS_KEY = "limits"
LIMIT_OPTION = "limit"

_BOOLEAN = "tag:yaml.org,2002:bool"
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


class ConfigFileError(Exception):
    """Raised when the file cannot be used; the text is ``FILE:LINE: reason``."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        place = f"{printable(path)}:{line}" if line else printable(path)
        super().__init__(f"{place}: {reason}")


@frozen
class Setting:
    """One option in the file.

    :ivar option: the name of the long option.
    :ivar value: its value; for ``limit`` it is ``NAME=VALUE``, for a flag ``"true"``.
    :ivar line: its line in the file.
    """

    option: str
    value: str
    line: int


@frozen
class KnownOptions:
    """The names of the options that the file may have, by the kinds of their values."""

    texts: Collection[str]
    lists: Collection[str]
    flags: Collection[str]

    def names(self) -> list[str]:
        """Return all keys that the file may have."""
        return [*self.texts, *self.lists, *self.flags, LIMITS_KEY]


def read_config(path: str, known: KnownOptions) -> list[Setting]:
    """Read the options in the file ``path``, in their order.

    :raises ConfigFileError: for the first mistake that is found.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigFileError(path, 0, error.strerror or str(error)) from None
    except ValueError:
        raise ConfigFileError(path, 0, "not a path") from None
    return [*_Reader(path, known).read(content)]


class _Mistake(Exception):
    """Raised for a mistake in a line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason


class _Reader:
    """A reader of one file."""

    def __init__(self, path: str, known: KnownOptions) -> None:
        self._path = path
        self._known = known

    def read(self, content: bytes) -> Iterator[Setting]:
        """Yield the options in the content of the file."""
        try:
            if len(content) > MAX_SIZE:
                raise _Mistake(0, f"longer than {MAX_SIZE} bytes")
            root = _parse(content)
            if root is not None and root.tag != _NULL:
                for key, node in _entries(root, "the file"):
                    yield from self._settings(key, node)
        except _Mistake as mistake:
            raise ConfigFileError(self._path, mistake.line, mistake.reason) from None

    def _settings(self, key: yaml.ScalarNode, node: yaml.Node) -> Iterator[Setting]:
        name = key.value
        if name == LIMITS_KEY:
            for limit, value in _entries(node, LIMITS_KEY):
                text = f"{limit.value}={_text(value, limit.value)}"
                yield Setting(LIMIT_OPTION, text, _line(limit))
        elif name in self._known.flags:
            if _flag(node, name):
                yield Setting(name, "true", _line(node))
        elif name in self._known.lists:
            items = node.value if isinstance(node, yaml.SequenceNode) else [node]
            for item in items:
                yield Setting(name, _text(item, name), _line(item))
        elif name in self._known.texts:
            yield Setting(name, _text(node, name), _line(node))
        else:
            similar = hint(name, self._known.names())
            raise _Mistake(_line(key), f"there is no option {printable(name)}{similar}")


def _parse(content: bytes) -> yaml.Node | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Mistake(line, "not UTF-8") from None
    try:
        return yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = printable(error.problem or error.context or "not YAML")
        raise _Mistake(mark.line + 1 if mark else 0, f"not YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Mistake(line, f"not YAML: {error.reason}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise _Mistake(0, "not YAML") from None


def _entries(node: yaml.Node, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _Mistake(_line(node), f"{what} must be a mapping: lines of KEY: VALUE")
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            raise _Mistake(_line(key), f"{what}: a key must be one text")
        if key.value in seen:
            name, first = printable(key.value), seen[key.value]
            raise _Mistake(_line(key), f"{name} is given twice, first in line {first}")
        seen[key.value] = _line(key)
        yield key, value


def _text(node: yaml.Node, name: str) -> str:
    name = printable(name)
    if not isinstance(node, yaml.ScalarNode):
        raise _Mistake(_line(node), f"{name} must be one text")
    if node.tag == _NULL:
        raise _Mistake(_line(node), f"{name} has no value")
    if node.tag == _BOOLEAN:
        problem = f"{name} must be a text: write {node.value} in quotes if it is one"
        raise _Mistake(_line(node), problem)
    if "\0" in node.value:
        raise _Mistake(_line(node), f"{name} must not contain a zero byte")
    text: str = node.value
    return text


def _flag(node: yaml.Node, name: str) -> bool:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _BOOLEAN:
        raise _Mistake(_line(node), f"{name} must be true or false")
    return node.value.lower() in ("true", "yes", "on")


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
