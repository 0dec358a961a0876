# -*- test-case-name: tests.commands.guest.test_rendering -*-
"""Answers of the guest API as text for people, and as bytes for programs.

Text for people has no control characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from devlxd.commands.output import printable

if TYPE_CHECKING:
    # Commands without events start faster without the module.
    from devlxd.client.values import Event


def exact_bytes(text: str) -> bytes:
    """Return the bytes that the library has returned as text."""
    return text.encode("utf-8", "surrogateescape")


def event_json(event: Event) -> bytes:
    """Return an event as one line of JSON in UTF-8."""
    # Lone surrogates, which JSON may contain, become what JSON writes for them.
    return event.to_json().encode("utf-8", "backslashreplace") + b"\n"


def render_members(members: Mapping[str, object], indent: str = "") -> str:
    """Return each member as a line ``NAME: VALUE``."""
    return "".join(
        f"{indent}{printable(name)}: {_text(value)}".rstrip() + "\n"
        for name, value in members.items()
    )


def render_devices(devices: Mapping[str, Mapping[str, str]]) -> str:
    """Return each device as its name with its members below."""
    return "".join(
        f"{printable(name)}:\n{render_members(device, '  ')}"
        for name, device in devices.items()
    )


def render_event(event: Event) -> str:
    """Return an event as one line, without a line end."""
    members = (
        f" {printable(name)}={_quoted(value)}" for name, value in event.metadata.items()
    )
    return f"{printable(event.timestamp)} {printable(event.type)}{''.join(members)}"


def _text(value: object) -> str:
    return "" if value == "" else printable(value)


def _quoted(value: object) -> str:
    text = _text(value)
    return text if text and " " not in text else f'"{text}"'
