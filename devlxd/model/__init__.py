# -*- test-case-name: tests.test_model -*-
"""The immutable values that the packages of devlxd exchange.

A value that only one package uses belongs in that package, and so does the code that
reads, stores or sends values.
"""

from devlxd.model.caller import Caller, Claim, Init, Monitor, Peer, ProcessStatus
from devlxd.model.container import Container, is_container_name
from devlxd.model.event import End, Event
from devlxd.model.explanation import Explanation, Result, Step
from devlxd.model.fault import Fault
from devlxd.model.guest_state import GuestState
from devlxd.model.handover import HandedOver, JSONValue
from devlxd.model.image import FileRange, Image, ImagePart, is_fingerprint
from devlxd.model.limits import LIMITS, Limit, Limits
from devlxd.model.listener import Listener
from devlxd.model.refusal import Refusal
from devlxd.model.source_state import SourceState

__all__ = [
    "LIMITS",
    "Caller",
    "Claim",
    "Container",
    "End",
    "Event",
    "Explanation",
    "Fault",
    "FileRange",
    "GuestState",
    "HandedOver",
    "Image",
    "ImagePart",
    "Init",
    "JSONValue",
    "Limit",
    "Limits",
    "Listener",
    "Monitor",
    "Peer",
    "ProcessStatus",
    "Refusal",
    "Result",
    "SourceState",
    "Step",
    "is_container_name",
    "is_fingerprint",
]
