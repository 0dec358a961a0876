# -*- test-case-name: tests.client.test_questions -*-
"""The exceptions of the guest library, one for each condition."""

from __future__ import annotations


class GuestError(Exception):
    """A question has failed. The text is the server's, if it has sent one."""


class NotFound(GuestError):
    """There is no such key, device or image."""


class Forbidden(GuestError):
    """The server refuses the caller, or the API is switched off for the container."""


class NotSupported(GuestError):
    """The dialect of the server does not have this.

    For example, there are no events in ``apollo``, and no guest states in ``lxd``.
    """


class Unavailable(GuestError):
    """No server answers, it has not answered in time, or it cannot answer now."""


class ProtocolError(GuestError):
    """What the server sends is not the guest API, or is too large."""


class DoesNotMatch(GuestError):
    """The bytes of an image do not match its fingerprint."""
