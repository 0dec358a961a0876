# -*- test-case-name: tests.web.test_resources -*-
"""One resource a path: the REST tree of the specification.

The tree of a dialect is built once. What a request asks for is answered from
the snapshot that the gate has put into ``request.container``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.resource import Resource

from devlxd.interfaces import IEventBus
from devlxd.model import Container
from devlxd.web.answers import (
    Answer,
    AnswerCache,
    json_answer,
    refusal,
    text_answer,
)
from devlxd.web.dialects import Dialect
from devlxd.web.events import Events
from devlxd.web.images import Downloads, ImageExport
from devlxd.web.resource import GuestResource, Missing

if TYPE_CHECKING:
    from devlxd.web.request import GuestRequest


class Fixed(GuestResource):
    """A path that has the same answer for every container."""

    def __init__(self, dialect: Dialect, cache: AnswerCache, value: object) -> None:
        super().__init__(dialect, cache)
        self._fixed = json_answer(value)

    def answer(self, request: GuestRequest) -> Answer:
        """See `GuestResource.answer`."""
        return self._fixed


class Rendered(GuestResource):
    """A path whose answer follows from the snapshot."""

    def answer(self, request: GuestRequest) -> Answer:
        """See `GuestResource.answer`."""
        container = request.container
        return self.cache.answer(container, self, lambda: self.rendered(container))

    def rendered(self, container: Container) -> Answer:
        """Make the answer, once a snapshot."""
        raise NotImplementedError


class Named(GuestResource):
    """All that is below a list: ``/1.0/config/KEY``, ``/1.0/device/NAME``.

    A name may hold a ``/``. It is found as it stands, as the list gives it,
    and percent-encoded.
    """

    isLeaf = True

    def answer(self, request: GuestRequest) -> Answer:
        """See `GuestResource.answer`."""
        raw = request.path.split(b"/", 3)[3]
        if not raw:
            return self.not_found
        decoded = self._answer_for(request.container, unquote_to_bytes(raw))
        if decoded.code == http.NOT_FOUND and b"%" in raw:
            as_it_stands = self._answer_for(request.container, raw)
            return as_it_stands if as_it_stands.code == http.OK else decoded
        return decoded

    def _answer_for(self, container: Container, name: bytes) -> Answer:
        try:
            return self.named(container, name.decode("utf-8"))
        except UnicodeDecodeError:
            return self.not_found

    def named(self, container: Container, name: str) -> Answer:
        """Answer for one name."""
        raise NotImplementedError


class ConfigList(Rendered):
    """``/1.0/config``: the paths of the keys that the guest may read.

    They are not percent-encoded, as LXD's and Incus's are not: cloud-init does
    that itself.
    """

    def rendered(self, container: Container) -> Answer:
        """See `Rendered.rendered`."""
        return json_answer(
            sorted(
                f"/1.0/config/{key}"
                for key, value in container.config.items()
                if value and self.dialect.exports(key)
            )
        )


class ConfigValue(Named):
    """``/1.0/config/KEY``: the value, to the byte."""

    def __init__(self, dialect: Dialect, cache: AnswerCache) -> None:
        super().__init__(dialect, cache)
        self._forbidden = refusal(http.FORBIDDEN, dialect.not_authorized)

    def named(self, container: Container, name: str) -> Answer:
        """See `Named.named`."""
        if not self.dialect.exports(name):
            return self._forbidden
        value = container.config.get(name)
        if not value:
            return self.not_found
        return self.cache.answer(container, (self, name), lambda: text_answer(value))


def _is_told(device: Mapping[str, str]) -> bool:
    """Tell whether the specification shows ``device``: the ipvlan ones only."""
    return device.get("nictype") == "ipvlan"


class DeviceList(Rendered):
    """``/1.0/devices``: the paths of the devices, as those of the keys."""

    def rendered(self, container: Container) -> Answer:
        """See `Rendered.rendered`."""
        return json_answer(
            sorted(
                f"/1.0/device/{name}"
                for name, device in container.devices.items()
                if _is_told(device)
            )
        )


class DeviceValue(Named):
    """``/1.0/device/NAME``: the device, whole."""

    def named(self, container: Container, name: str) -> Answer:
        """See `Named.named`."""
        device = container.devices.get(name)
        if device is None or not _is_told(device):
            return self.not_found
        values = dict(device)
        return self.cache.answer(container, (self, name), lambda: json_answer(values))


class MetaData(Rendered):
    """``/1.0/meta-data``: what cloud-init reads first."""

    def rendered(self, container: Container) -> Answer:
        """See `Rendered.rendered`."""
        config = container.config
        instance_id = config.get("volatile.cloud-init.instance-id") or container.name
        return text_answer(
            f"{self.dialect.meta_data_head}"
            f"instance-id: {instance_id}\n"
            f"local-hostname: {container.hostname}\n"
            f"{config.get('user.meta-data', '')}"
        )


def resource_tree(
    dialect: Dialect,
    cache: AnswerCache,
    reactor: IReactorTime,
    bus: IEventBus | None,
    downloads: Downloads | None,
) -> Resource:
    """Build the tree of ``dialect``.

    :param bus: without one there are no events in it.
    :param downloads: without them there are no images in it.
    """
    root = Missing(dialect, cache)
    root.putChild(b"", Fixed(dialect, cache, ["/1.0"]))
    version = Fixed(dialect, cache, {"api_version": "1.0"})
    root.putChild(b"1.0", version)
    config = ConfigList(dialect, cache)
    config.put_all_below(ConfigValue(dialect, cache))
    version.putChild(b"config", config)
    version.putChild(b"meta-data", MetaData(dialect, cache))
    if dialect.devices:
        version.putChild(b"devices", DeviceList(dialect, cache))
        device = Missing(dialect, cache)
        device.put_all_below(DeviceValue(dialect, cache))
        version.putChild(b"device", device)
    if dialect.events and bus is not None:
        version.putChild(b"events", Events(dialect, cache, bus, reactor))
    if dialect.images and downloads is not None:
        images = Missing(dialect, cache)
        images.put_all_below(ImageExport(dialect, cache, downloads))
        version.putChild(b"images", images)
    return root
