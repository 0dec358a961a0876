"""Directives that write the command lines of devlxd into a page.

``.. devlxd-commands::`` lists the commands of ``devlxd`` with their arguments,
``.. twistd-options::`` the options of ``twistd devlxd``, both from the parsers, and
``.. devlxd-limits::`` the limits that can be changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from devlxd.commands.main import make_parser
from devlxd.model import LIMITS
from devlxd.options import Options


def _item(term: str, *contents: nodes.Node) -> nodes.definition_list_item:
    return nodes.definition_list_item(
        "",
        nodes.term("", "", nodes.literal(term, term)),
        nodes.definition("", *contents),
    )


def _paragraph(text: str) -> nodes.paragraph:
    text = " ".join(text.split())
    return nodes.paragraph(text, text)


def _commands(
    parser: argparse.ArgumentParser, summary: str = ""
) -> Iterator[nodes.definition_list_item]:
    """Yield the commands of a parser, each with its usage and its arguments."""
    arguments = []
    leaf = True
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            leaf = False
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, subparser in action.choices.items():
                yield from _commands(subparser, helps.get(name) or "")
        elif action.help not in (None, argparse.SUPPRESS) and action.dest != "help":
            arguments.append(_argument(parser, action))
    if leaf:
        usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
        contents: list[nodes.Node] = [_paragraph(parser.description or summary)]
        if arguments:
            contents.append(nodes.definition_list("", *arguments))
        if parser.epilog:
            contents.append(_paragraph(parser.epilog))
        yield _item(usage.replace(" [-h]", ""), *contents)


def _argument(
    parser: argparse.ArgumentParser, action: argparse.Action
) -> nodes.definition_list_item:
    formatter = parser._get_formatter()
    default = (action.dest if action.option_strings else action.metavar) or action.dest
    value = "" if action.nargs == 0 else formatter._format_args(action, default.upper())
    names = ", ".join(action.option_strings)
    return _item(f"{names} {value}".strip(), _paragraph(formatter._expand_help(action)))


def _options(options: Options) -> Iterator[nodes.definition_list_item]:
    """Yield the options of ``twistd devlxd``."""
    for opt in sorted(options.longOpt):
        name = opt.rstrip("=")
        value = "=VALUE" if opt.endswith("=") else ""
        text = options.docs.get(name) or ""
        default = options.defaults.get(name)
        if value and default and "[default:" not in text:
            text += f" [default: {default}]"
        yield _item(f"--{name}{value}", _paragraph(text))


def _limits() -> Iterator[nodes.definition_list_item]:
    """Yield the limits, with their defaults and the values that they may have."""
    for limit in LIMITS.values():
        default, *values = map(
            limit.shown, (limit.default, limit.least, limit.greatest)
        )
        yield _item(
            limit.name,
            _paragraph(
                f"{limit.description}; from {' to '.join(values)} (default: {default})"
            ),
        )


class _ListDirective(SphinxDirective):
    """Writes a definition list."""

    def items(self) -> Iterable[nodes.definition_list_item]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return [nodes.definition_list("", *self.items())]


class CommandsDirective(_ListDirective):
    """Lists the commands of ``devlxd``."""

    def items(self) -> Iterable[nodes.definition_list_item]:
        """See `_ListDirective.items`."""
        return _commands(make_parser())


class OptionsDirective(_ListDirective):
    """Lists the options of ``twistd devlxd``."""

    def items(self) -> Iterable[nodes.definition_list_item]:
        """See `_ListDirective.items`."""
        return _options(Options())


class LimitsDirective(_ListDirective):
    """Lists the limits."""

    def items(self) -> Iterable[nodes.definition_list_item]:
        """See `_ListDirective.items`."""
        return _limits()


def setup(app: Sphinx) -> dict[str, bool]:
    """See the documentation of Sphinx."""
    app.add_directive("devlxd-commands", CommandsDirective)
    app.add_directive("twistd-options", OptionsDirective)
    app.add_directive("devlxd-limits", LimitsDirective)
    return {"parallel_read_safe": True}
