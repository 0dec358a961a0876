# -*- test-case-name: tests.guestapi.test_resources -*-
"""The resources that respond from the snapshot of a container.

The dialect decides what a guest may see; this module depends on no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.http import Request

from devlxd.guestapi.dialect import PathPattern, Route, Services
from devlxd.guestapi.object_responses import object_response
from devlxd.guestapi.resource_bases import (
    AnyResponse,
    NamedResource,
    SlicedResource,
    SnapshotResource,
)
from devlxd.guestapi.snapshot_responses import (
    json_response,
    list_response,
    text_response,
)
from devlxd.httpserver.responses import Response
from devlxd.model import Container
from devlxd.turns import Slices


class ConfigListResource(SlicedResource):
    """``/1.0/config``: the paths of the config keys that the guest may read.

    As in LXD and Incus, the paths are not percent-encoded: cloud-init encodes them
    itself. Keys whose values are empty are not listed. With the argument
    ``recursion=1``, the response is an object of the same keys and their values.
    """

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        if request.args.get(b"recursion") == [b"1"]:
            return self.sliced(container, (self, "recursion"), self._all_values)
        return super().get(request, container)

    def _all_values(self, container: Container) -> Slices[Response]:
        return object_response(
            container.config, self._is_listed, lambda _key, value: value
        )

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""
        root = self.path.pattern + "/"
        return list_response(root, container.config, self._is_listed)

    def _is_listed(self, key: str, value: str) -> bool:
        return bool(value) and self.dialect.exports(key)


class ConfigValueResource(NamedResource):
    """``/1.0/config/{key}``: the value of the config key, unchanged."""

    def get_by_name(self, container: Container, name: str) -> Response:
        """See `NamedResource.get_by_name`."""
        if not self.dialect.exports(name):
            return self.not_authorized
        value = container.config.get(name)
        if not value:
            return self.not_found
        return self.services.cache.get(
            container, (self, name), lambda: text_response(value)
        )


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
        return self.services.cache.get(
            container, (self, name), lambda: json_response(values)
        )


class DevicesResource(SlicedResource):
    """``/1.0/devices``: the devices that the guest may see, with all their values.

    The MAC address of a network device that has none in its configuration is the one
    that LXD or Incus has given it.
    """

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""

        def values(name: str, device: Mapping[str, str]) -> Mapping[str, str]:
            return dict(sorted(with_hwaddr(name, device, container.config).items()))

        return object_response(container.devices, self._is_shown, values)

    def _is_shown(self, name: str, device: Mapping[str, str]) -> bool:
        return self.dialect.shows_device(device)


def with_hwaddr(
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


class MetaDataResource(SnapshotResource):
    """``/1.0/meta-data``: the meta-data for cloud-init."""

    def render(self, container: Container) -> Response:
        """See `SnapshotResource.render`."""
        return text_response(self.dialect.meta_data(container))


def nocloud_meta_data(head: str, container: Container) -> str:
    """Return a container's meta-data, as for the data source NoCloud of cloud-init.

    The config key ``user.meta-data`` is appended as it is.

    :param head: the first line of the meta-data, with the newline.
    """
    config = container.config
    instance_id = config.get("volatile.cloud-init.instance-id") or container.name
    return (
        f"{head}"
        f"instance-id: {instance_id}\n"
        f"local-hostname: {container.hostname}\n"
        f"{config.get('user.meta-data', '')}"
    )
