# -*- test-case-name: tests.guestapi.test_resources -*-
"""The resources that respond from the snapshot of a container.

The dialect decides what a guest may see; this module depends on no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from devlxd.guestapi.dialect import PathPattern, Route, Services
from devlxd.guestapi.long_responses import list_response, object_response
from devlxd.guestapi.resource_bases import NamedResource, SlicedResource
from devlxd.guestapi.snapshot_responses import json_response, text_response
from devlxd.httpserver.responses import Response
from devlxd.model import Container
from devlxd.turns import Slices


class DeviceListResource(SlicedResource):
    """``/1.0/devices``: the paths of the devices that the guest may see.

    :ivar root: what each path begins with; see `device_list`.
    """

    root: str

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""
        return list_response(self.root, container.devices, self._is_listed)

    def _is_listed(self, name: str, device: Mapping[str, str]) -> bool:
        return self.dialect.shows_device(device)


def device_list(root: str) -> Route:
    """Return a route to the list of devices.

    :param root: what the paths in the list begin with: ``/1.0/device/``.
    """

    def route(services: Services, path: PathPattern) -> DeviceListResource:
        resource = DeviceListResource(services, path)
        resource.root = root
        return resource

    return route


class DeviceResource(NamedResource):
    """``/1.0/device/{name}``: all keys and values of the device."""

    def get_by_name(self, container: Container, name: str) -> Response:
        """See `NamedResource.get_by_name`."""
        device = container.devices.get(name)
        if device is None or not self.dialect.shows_device(device):
            return self.not_found
        values = dict(device)
        size = sum(len(key) + len(value) for key, value in values.items())
        return self.kept(container, name, size, lambda: json_response(values))


class DevicesResource(SlicedResource):
    """``/1.0/devices``: the devices that the guest may see, with all their values.

    The MAC address of a network device that has none in its configuration is the one
    that LXD or Incus has given it.
    """

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""

        def values(name: str, device: Mapping[str, str]) -> Mapping[str, str]:
            return dict(sorted(_with_hwaddr(name, device, container.config).items()))

        return object_response(container.devices, self._is_shown, values)

    def _is_shown(self, name: str, device: Mapping[str, str]) -> bool:
        return self.dialect.shows_device(device)


def _with_hwaddr(
    name: str, device: Mapping[str, str], config: Mapping[str, str]
) -> Mapping[str, str]:
    """Return a device with ``volatile.NAME.hwaddr``, if it is a NIC without one.

    :param name: the name of the device.
    :param config: the configuration of its container.
    """
    if device.get("type") != "nic" or device.get("hwaddr"):
        return device
    hwaddr = config.get(f"volatile.{name}.hwaddr")
    return {**device, "hwaddr": hwaddr} if hwaddr else device


class MetaDataResource(SlicedResource):
    """``/1.0/meta-data``: the meta-data for cloud-init."""

    _log = Logger()

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""
        meta_data = yield from self.dialect.meta_data(container)
        if meta_data.problem is not None:
            self._log.warn(
                "user.meta-data of container {name} is appended as it is: {problem}",
                name=container.name,
                problem=meta_data.problem,
            )
        return text_response(meta_data.text)
