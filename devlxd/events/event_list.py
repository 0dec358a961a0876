# -*- test-case-name: tests.events.test_subscription -*-
"""The linked list of a container's events, shared by all its subscriptions."""

from __future__ import annotations

from devlxd.model import Event


class Node:
    """A position in the list, after one event and before the next.

    A node refers to later nodes only, so that an event is freed when all
    subscriptions are past it.

    :ivar event: the event before this position; ``None`` at the beginning.
    :ivar next: the next node; ``None`` at the end.
    :ivar group: a list whose only item is the last node of a group of successive events
        of one type, so that a subscription can skip the group in one step. All nodes
        of the group share the list, except the last one, which has ``None``.
    :ivar count: the number of events up to this position.
    :ivar size: the size of these events, in bytes.
    """

    __slots__ = ("count", "event", "group", "next", "size")

    def __init__(
        self, event: Event | None = None, previous: Node | None = None
    ) -> None:
        self.event = event
        self.next: Node | None = None
        self.group: list[Node] | None = None
        self.count: int = previous.count + 1 if previous else 0
        size = event.size if event else 0
        self.size: int = previous.size + size if previous else 0


class Chain:
    """New events that are not linked to the list yet.

    :param end: the last node of the list.
    :ivar events: the events.
    :ivar last: the last node of the list once these events are linked.
    """

    def __init__(self, end: Node) -> None:
        self._end = end
        self._first: Node | None = None
        self._group: list[Node] = []
        self.last = end
        self.events: list[Event] = []

    @property
    def size(self) -> int:
        """The size of the events, in bytes."""
        return self.last.size - self._end.size

    def add(self, event: Event) -> None:
        """Add an event."""
        node = Node(event, self.last)
        if self._first is None:
            self._first, self._group = node, [node]
        else:
            self.last.next = node
            if self.events[-1].type == event.type:
                self.last.group, self._group[0] = self._group, node
            else:
                self._group = [node]
        self.last = node
        self.events.append(event)

    def link(self) -> None:
        """Link the events to the list, so that subscriptions find them."""
        self._end.next = self._first
