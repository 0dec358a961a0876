# -*- test-case-name: tests.guestapi.test_config_resources -*-
"""The config keys that a guest may read, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twisted.logger import Logger
from twisted.web.http import Request

from devlxd.guestapi.long_responses import list_response, object_response
from devlxd.guestapi.resource_bases import AnyResponse, NamedResource, SlicedResource
from devlxd.guestapi.shared_slices import SharedSlices
from devlxd.guestapi.snapshot_responses import text_response
from devlxd.guestapi.ssh_keys import DATA_KEYS, SSH_KEYS_PREFIX, merge_ssh_keys
from devlxd.httpserver.responses import Response
from devlxd.model import Container
from devlxd.turns import Slices


class ConfigResource(SlicedResource):
    """A path that responds from the config of a container, as guests see it."""

    _log = Logger()

    def config_of(self, container: Container) -> Slices[Mapping[str, str]]:
        """Return the config of a container, in slices.

        SSH keys are added to it if the dialect does that. This is done once for each
        snapshot, for all paths.
        """
        if not self.dialect.adds_ssh_keys:
            return container.config
        shared = self.services.cache.get(
            container, ConfigResource, lambda: SharedSlices(self._merged(container))
        )
        return (yield from shared.result())

    def _merged(self, container: Container) -> Slices[Mapping[str, str]]:
        merged = yield from merge_ssh_keys(container.config)
        for key, problem in merged.problems.items():
            self._log.warn(
                "SSH keys of container {name} cannot be added to {key}: {problem}",
                name=container.name,
                key=key,
                problem=problem,
            )
        if not merged.values:
            return container.config
        return {**container.config, **merged.values}


class ConfigListResource(ConfigResource):
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
        config = yield from self.config_of(container)
        items = object_response(config, self._is_listed, lambda _key, value: value)
        return (yield from items)

    def slices(self, container: Container) -> Slices[Response]:
        """See `SlicedResource.slices`."""
        root = self.path.pattern + "/"
        config = yield from self.config_of(container)
        return (yield from list_response(root, config, self._is_listed))

    def _is_listed(self, key: str, value: str) -> bool:
        if self.dialect.adds_ssh_keys and key.startswith(SSH_KEYS_PREFIX):
            return False
        return bool(value) and self.dialect.exports(key)


class ConfigValueResource(NamedResource, ConfigResource):
    """``/1.0/config/{key}``: the value of the config key.

    It is the stored one, unless SSH keys are added to it.
    """

    def get_by_name(self, container: Container, name: str) -> AnyResponse:
        """See `NamedResource.get_by_name`."""
        if not self.dialect.exports(name):
            return self.not_authorized
        if self.dialect.adds_ssh_keys and name in DATA_KEYS:
            return self.sliced(container, (self, name), partial(self._value, name))
        value = container.config.get(name)
        if not value:
            return self.not_found
        return self.kept(container, name, len(value), lambda: text_response(value))

    def _value(self, name: str, container: Container) -> Slices[Response]:
        config = yield from self.config_of(container)
        value = config.get(name)
        return text_response(value) if value else self.not_found
