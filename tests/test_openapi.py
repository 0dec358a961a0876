"""Tests of ``docs/openapi/``: the files agree with the dialects and with each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DIALECTS
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Container
from devlxd.testing.guests import GuestConnection, bus_for, site_for

#: The directory of the files: one for each dialect.
FILES = Path(__file__).parents[1] / "docs" / "openapi"

#: The components that dialects have in common, but with different contents.
DIFFERENT = {
    ("headers", "Allow"),
    ("responses", "Devices"),
    ("responses", "Facts"),
    ("responses", "Forbidden"),
    ("responses", "MetaData"),
    ("responses", "NotFound"),
    ("schemas", "ConfigChange"),
    ("schemas", "ConfigPaths"),
    ("schemas", "ConfigValues"),
    ("schemas", "Facts"),
}

#: A reference to a component.
REFERENCE = re.compile(r'"\$ref": "#/components/(\w+)/(\w+)"')

#: The values of the variables in paths.
VALUES = {"key": "user.a", "name": "eth0", "fingerprint": "a" * 64}


def read(name: str) -> Any:  # noqa: ANN401 # as yaml.safe_load
    """Return the content of the file of a dialect."""
    return yaml.safe_load((FILES / f"{name}.yaml").read_text())


def operations(content: dict[str, Any]) -> dict[tuple[str, str], object]:
    """Return the operations in a file, by path and method."""
    return {
        (path, method): operation
        for path, item in content["paths"].items()
        for method, operation in item.items()
    }


def components(content: dict[str, Any]) -> dict[tuple[str, str], object]:
    """Return the components in a file, by kind and name."""
    return {
        (kind, name): component
        for kind, named in content["components"].items()
        for name, component in named.items()
    }


def allowed(dialect: Dialect, path: str) -> set[str]:
    """Return the methods that a path of a devlxd has, in lower case."""
    store = MemoryStore()
    store.put(Container("c1"))
    bus = bus_for(store) if dialect.events else None
    site = site_for(store, "c1", dialect, images=MemoryImageStore(), bus=bus)
    request = f"OPTIONS {path.format(**VALUES)} HTTP/1.1\r\nHost: lxd\r\n\r\n"
    response = GuestConnection(site).send(request.encode())
    (methods,) = re.findall(rb"\r\nAllow: ([A-Z, ]+)\r\n", response)
    return set(methods.decode().lower().split(", "))


class OpenAPIFileTests(SynchronousTestCase):
    """The files in ``docs/openapi/``."""

    def test_complete(self) -> None:
        """Each dialect has a file."""
        names = sorted(path.stem for path in FILES.iterdir())
        self.assertEqual(names, sorted(DIALECTS))

    def test_routes(self) -> None:
        """A file has the paths of its dialect, and the methods of each."""
        for name, dialect in DIALECTS.items():
            paths = read(name)["paths"]
            self.assertEqual(set(paths), set(dialect.routes), name)
            for path, item in paths.items():
                # HEAD is possible wherever GET is.
                methods = {*item, "head"}
                self.assertEqual(methods, allowed(dialect, path), (name, path))

    def test_same_operations(self) -> None:
        """What several dialects have is described with the same words."""
        known: dict[tuple[str, str], object] = {}
        for name in DIALECTS:
            for key, operation in operations(read(name)).items():
                if key == ("/1.0", "get"):
                    continue
                self.assertEqual(known.setdefault(key, operation), operation, key)

    def test_same_components(self) -> None:
        """A component with the same name is the same, except for a few."""
        known: dict[tuple[str, str], object] = {}
        different = set()
        for name in DIALECTS:
            for key, component in components(read(name)).items():
                if known.setdefault(key, component) != component:
                    different.add(key)
        self.assertEqual(different, DIFFERENT)

    def test_references(self) -> None:
        """Each reference leads to a component, and each component is used."""
        for name in DIALECTS:
            content = read(name)
            references = set(REFERENCE.findall(json.dumps(content)))
            self.assertEqual(references, set(components(content)), name)

    def test_refusals(self) -> None:
        """Refusals have the texts of the dialect."""
        for name, dialect in DIALECTS.items():
            responses = read(name)["components"]["responses"]
            for component, text in (
                ("Unauthorized", dialect.not_root),
                ("Forbidden", dialect.not_authorized),
                ("NotFound", dialect.not_found),
            ):
                schema = responses[component]["content"]["text/plain"]["schema"]
                self.assertEqual(schema["const"], f"{text}\n", (name, component))

    def test_exported(self) -> None:
        """The keys in a file are those that guests may read."""
        for name, dialect in DIALECTS.items():
            schemas = read(name)["components"]["schemas"]
            pattern = re.compile(schemas["ConfigValues"]["propertyNames"]["pattern"])
            for prefix in ("user.", "cloud-init.", "security.", "volatile."):
                is_exported = dialect.exports(f"{prefix}x")
                self.assertEqual(bool(pattern.match(f"{prefix}x")), is_exported, name)
