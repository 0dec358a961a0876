# -*- test-case-name: tests.guestapi.test_resources -*-
"""The resources that respond from the snapshot of a container.

The dialect decides what a guest may see; this module depends on no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping

from devlxd.guestapi.dialect import PathPattern, Route, Services
from devlxd.guestapi.resource_bases import (
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
    itself. Keys whose values are empty are not listed.
    """

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
