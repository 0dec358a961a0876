# -*- test-case-name: tests.test_model -*-
"""The immutable values that the packages of devlxd exchange.

A value that only one package uses belongs in that package, and so does the code that
reads, stores or sends values.
"""

from devlxd.model.caller import Caller, Claim, Init, Monitor, Peer, ProcessStatus
from devlxd.model.container import Container, is_container_name
from devlxd.model.event import End, Event
from devlxd.model.guest_state import GuestState
from devlxd.model.image import Image, ImagePart, is_fingerprint

__all__ = [
    "Caller",
    "Claim",
    "Container",
    "End",
    "Event",
    "GuestState",
    "Image",
    "ImagePart",
    "Init",
    "Monitor",
    "Peer",
    "ProcessStatus",
    "is_container_name",
    "is_fingerprint",
]
