"""The configuration of a container, its history, and what devlxd answers from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random

import yaml
from attrs import evolve, field, frozen

#: The names of the config keys and of the devices that change.
KEYS = [f"user.k{n}" for n in range(10)]
DEVICES = [f"eth{n}" for n in range(4)]

#: The key whose value is the number of the version.
VERSION = "user.version"

#: How many versions are remembered.
REMEMBERED = 200

#: The sizes of values, in bytes, and how often each occurs.
SIZES = {0: 30, 100: 50, 5_000: 15, 100_000: 1}


@frozen
class Snapshot:
    """One version of a document.

    :ivar number: the number of the version.
    :ivar config: the config keys that guests see, without that of the version.
    :ivar devices: the devices.
    """

    number: int = 0
    config: Mapping[str, str] = field(factory=dict)
    devices: Mapping[str, Mapping[str, str]] = field(factory=dict)

    def changed(self, random: Random) -> Snapshot:
        """Return the next version, with a few changes.

        No value occurs in two versions.
        """
        number = self.number + 1
        config = dict(self.config)
        devices = {name: dict(device) for name, device in self.devices.items()}
        for key in random.sample(KEYS, random.randint(0, 3)):
            if random.random() < 0.25:
                config.pop(key, None)
            else:
                (size,) = random.choices(list(SIZES), list(SIZES.values()))
                config[key] = f"{key} in {number} {chr(random.randint(97, 122)) * size}"
        for name in random.sample(DEVICES, random.choice([0, 0, 1, 2])):
            if random.random() < 0.4:
                devices.pop(name, None)
            else:
                address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                devices[name] = {"type": "nic", "nictype": "ipvlan"}
                devices[name]["ipv4.address"] = address
        return evolve(self, number=number, config=config, devices=devices)

    @property
    def visible(self) -> dict[str, str]:
        """All config keys that guests see."""
        return {**self.config, VERSION: str(self.number)}

    def text(self, suffix: str) -> str:
        """Return the document.

        :param suffix: of its file.
        """
        hidden = {"security.devlxd.images": "true", "limits.cpu": "2"}
        tree = {
            "config": {**hidden, **self.visible},
            "devices": self.devices,
        }
        return json.dumps(tree) if suffix == "json" else yaml.safe_dump(tree)

    def answer(self, path: str) -> tuple[int, object]:
        """Return the status and the body that devlxd answers.

        :return: the body is text, or the value of its JSON.
        """
        *_, kind, name = f"{path}/".removesuffix("/").rsplit("/", 2)
        if path == "/1.0/config":
            return 200, sorted(f"/1.0/config/{key}" for key in self.visible)
        if path == "/1.0/devices":
            return 200, sorted(f"/1.0/device/{key}" for key in self.devices)
        if kind == "config" and name in self.visible:
            return 200, self.visible[name]
        if kind == "device" and name in self.devices:
            return 200, self.devices[name]
        return 404, "not found\n"


class History:
    """The latest versions of a document.

    :ivar settled: the number of the latest version that devlxd has answered from.
    :ivar incarnation: increases when the document is removed or renamed.
    """

    def __init__(self) -> None:
        self.settled = 0
        self.incarnation = 0
        self._versions = {0: Snapshot()}

    @property
    def latest(self) -> Snapshot:
        """The version that was written last."""
        return next(reversed(self._versions.values()))

    def add(self, snapshot: Snapshot) -> None:
        """Add a version, before it is written."""
        self._versions[snapshot.number] = snapshot
        if len(self._versions) > REMEMBERED:
            del self._versions[min(self._versions)]

    def get(self, number: int) -> Snapshot | None:
        """Return a version, or ``None`` if it does not exist or is too old."""
        return self._versions.get(number)

    def since(self, number: int) -> Iterator[Snapshot]:
        """Yield a version and all later ones."""
        for snapshot in list(self._versions.values()):
            if snapshot.number >= number:
                yield snapshot
