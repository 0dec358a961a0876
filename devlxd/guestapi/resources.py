# -*- test-case-name: tests.guestapi.test_resources -*-
"""One resource a path: the REST tree of the specification.

The tree of a dialect is built once. What a request asks for is answered from
the snapshot that the gate has put into ``request.container``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource

from devlxd.guestapi.base import GuestResource, Missing
from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.event_streams import Events
from devlxd.guestapi.image_export import Downloads, ImageExport
from devlxd.guestapi.responses import (
    INTERNAL_ERROR,
    Response,
    ResponseCache,
    json_response,
    list_response,
    refusal,
    text_response,
)
from devlxd.interfaces import IEventBus
from devlxd.model import Container
from devlxd.turns import Slices

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest


class Fixed(GuestResource):
    """A path that has the same answer for every container."""

    def __init__(self, dialect: Dialect, cache: ResponseCache, value: object) -> None:
        super().__init__(dialect, cache)
        self._fixed = json_response(value)

    def answer(self, request: GuestRequest) -> Response:
        """See `GuestResource.answer`."""
        return self._fixed


class Rendering:
    """An answer that is made in slices: the first at once, the others by turns.

    However many ask for it, it is made once.

    :param slices: make it.
    :param take_turn: does something when it is the container's turn.
    """

    _log = Logger()

    def __init__(
        self,
        slices: Slices[Response],
        take_turn: Callable[[Callable[[], None]], object],
    ) -> None:
        self._slices = slices
        self._take_turn = take_turn
        self._answer: Response | None = None
        self._waiting: dict[GuestRequest, None] = {}
        self._go_on()

    def send_to(self, request: GuestRequest) -> None:
        """Send the answer, as soon as it is there."""
        if self._answer is not None:
            request.send(self._answer)
            return
        self._waiting[request] = None
        gone = request.notifyFinish()
        gone.addErrback(lambda _: self._waiting.pop(request, None))

    def _go_on(self) -> None:
        try:
            next(self._slices)
        except StopIteration as stop:
            self._answer = stop.value
        except Exception:
            self._log.failure("an answer could not be rendered")
            self._answer = INTERNAL_ERROR
        else:
            self._take_turn(self._go_on)
            return
        self._send_next()

    def _send_next(self) -> None:
        """Send the answer to those who wait for it, one a turn."""
        if self._waiting and self._answer is not None:
            request = next(iter(self._waiting))
            del self._waiting[request]
            self._take_turn(self._send_next)
            request.send(self._answer)


class Listed(GuestResource):
    """A list of paths, which may be a long one."""

    def respond(self, request: GuestRequest) -> None:
        """See `GuestResource.respond`."""
        container, registry = request.container, request.site.registry
        rendering = self.cache.answer(
            container,
            self,
            lambda: Rendering(
                self.listed(container), partial(registry.take_turn, container.name)
            ),
        )
        rendering.send_to(request)

    def listed(self, container: Container) -> Slices[Response]:
        """Make the answer, once a snapshot."""
        raise NotImplementedError


class Named(GuestResource):
    """All that is below a list: ``/1.0/config/KEY``, ``/1.0/device/NAME``.

    A name may hold a ``/``. It is found as it stands, as the list gives it,
    and percent-encoded.
    """

    isLeaf = True

    def answer(self, request: GuestRequest) -> Response:
        """See `GuestResource.answer`."""
        raw = request.path.split(b"/", 3)[3]
        if not raw:
            return self.not_found
        decoded = self._answer_for(request.container, unquote_to_bytes(raw))
        if decoded.code == http.NOT_FOUND and b"%" in raw:
            as_it_stands = self._answer_for(request.container, raw)
            return as_it_stands if as_it_stands.code == http.OK else decoded
        return decoded

    def _answer_for(self, container: Container, name: bytes) -> Response:
        try:
            return self.named(container, name.decode("utf-8"))
        except UnicodeDecodeError:
            return self.not_found

    def named(self, container: Container, name: str) -> Response:
        """Answer for one name."""
        raise NotImplementedError


class ConfigList(Listed):
    """``/1.0/config``: the paths of the keys that the guest may read.

    They are not percent-encoded, as LXD's and Incus's are not: cloud-init does
    that itself.
    """

    def listed(self, container: Container) -> Slices[Response]:
        """See `Listed.listed`."""
        return list_response("/1.0/config/", container.config, self._is_told)

    def _is_told(self, key: str, value: str) -> bool:
        return bool(value) and self.dialect.exports(key)


class ConfigValue(Named):
    """``/1.0/config/KEY``: the value, to the byte."""

    def __init__(self, dialect: Dialect, cache: ResponseCache) -> None:
        super().__init__(dialect, cache)
        self._forbidden = refusal(http.FORBIDDEN, dialect.not_authorized)

    def named(self, container: Container, name: str) -> Response:
        """See `Named.named`."""
        if not self.dialect.exports(name):
            return self._forbidden
        value = container.config.get(name)
        if not value:
            return self.not_found
        return self.cache.answer(container, (self, name), lambda: text_response(value))


def _is_told(name: str, device: Mapping[str, str]) -> bool:
    """Return whether the specification shows ``device``: the ipvlan ones only."""
    return device.get("nictype") == "ipvlan"


class DeviceList(Listed):
    """``/1.0/devices``: the paths of the devices, as those of the keys."""

    def listed(self, container: Container) -> Slices[Response]:
        """See `Listed.listed`."""
        return list_response("/1.0/device/", container.devices, _is_told)


class DeviceValue(Named):
    """``/1.0/device/NAME``: the device, whole."""

    def named(self, container: Container, name: str) -> Response:
        """See `Named.named`."""
        device = container.devices.get(name)
        if device is None or not _is_told(name, device):
            return self.not_found
        values = dict(device)
        return self.cache.answer(container, (self, name), lambda: json_response(values))


class MetaData(GuestResource):
    """``/1.0/meta-data``: what cloud-init reads first."""

    def answer(self, request: GuestRequest) -> Response:
        """See `GuestResource.answer`."""
        container = request.container
        return self.cache.answer(container, self, lambda: self._rendered(container))

    def _rendered(self, container: Container) -> Response:
        config = container.config
        instance_id = config.get("volatile.cloud-init.instance-id") or container.name
        return text_response(
            f"{self.dialect.meta_data_head}"
            f"instance-id: {instance_id}\n"
            f"local-hostname: {container.hostname}\n"
            f"{config.get('user.meta-data', '')}"
        )


def resource_tree(
    dialect: Dialect,
    cache: ResponseCache,
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
