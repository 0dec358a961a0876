"""The defaults of the limits, for tests that reach them."""

from __future__ import annotations

from devlxd.limits import CurrentLimits
from devlxd.model import Limits

_DEFAULTS = Limits()

REQUEST_TIMEOUT = _DEFAULTS.request_timeout
IDLE_TIMEOUT = _DEFAULTS.idle_timeout
CLOSE_TIMEOUT = _DEFAULTS.close_timeout
READ_TIMEOUT = _DEFAULTS.read_timeout
STALL_TIMEOUT = _DEFAULTS.stall_timeout
LOADING_TIMEOUT = _DEFAULTS.loading_timeout
MAX_BODY = _DEFAULTS.request_body_bytes
MAX_IGNORED = _DEFAULTS.ignored_input_bytes
KEPT_EVENTS = _DEFAULTS.kept_events
MAX_CONTAINER_BYTES = _DEFAULTS.container_journal_bytes
MAX_MESSAGE = _DEFAULTS.websocket_message_bytes
PING_TIMEOUT = _DEFAULTS.ping_timeout
MAX_DOWNLOADS = _DEFAULTS.downloads
RESPONSE_TIMEOUT = _DEFAULTS.lxd_response_timeout
LXD_READ_TIMEOUT = _DEFAULTS.lxd_read_timeout
OPEN_TIMEOUT = _DEFAULTS.lxd_open_timeout
MAX_LARGE = _DEFAULTS.large_documents


def limits(**values: float) -> CurrentLimits:
    """Return the default limits with some other values.

    :param values: the values, also those that an operator may not set.
    """
    current = CurrentLimits()
    for name, value in values.items():
        object.__setattr__(current.value, name, value)
    return current
