"""Tests of the imports between modules, and of the effects of importing devlxd."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.python.modules import getModule
from twisted.trial.unittest import SynchronousTestCase

#: The packages and modules of devlxd, from the top to the bottom. Each imports
#: from those on lower lines only: not from those on its own.
LAYERS = [
    {"tap", "commands"},
    {"assembly"},
    {"options", "demo"},
    {"devlxd"},
    {"testing"},
    {
        "service",
        "admin",
        "access_keys",
        "configured_options",
        "listen_option",
        "state_directory",
    },
    {"service_status"},
    {
        "container_sources",
        "each_listener",
        "guest_endpoints",
        "guest_listener",
        "guest_sites",
        "reloading",
    },
    {"guestapi", "config_file", "logs", "documents"},
    {"httpserver", "events", "peers", "containers", "images", "host", "guest_states"},
    {"etcd"},
    {
        "turns",
        "log_limit",
        "outgoing_http",
        "files",
        "observers",
        "socket_options",
        "source_states",
        "sqlite_files",
        "store_loading",
    },
    {"interfaces", "limits"},
    {
        "model",
        "timestamps",
        "booleans",
        "compact_json",
        "fast_paths",
        "pidfds",
        "printable_text",
    },
]

#: The package for guests: it runs without the server, and imports nothing of it.
CLIENT = "client"


def _imports() -> Mapping[str, set[str]]:
    """Return the modules of devlxd that each module of devlxd imports, by name.

    Imports under ``TYPE_CHECKING`` are included. Importing a module from its package
    is an import of the module only: it uses nothing that the package defines.
    """
    names = {module.name: module for module in getModule("devlxd").walkModules()}
    found = {}
    for name, module in names.items():
        tree = ast.parse(Path(module.filePath.path).read_text())
        found[name] = (_imported_by(tree, set(names)) & set(names)) - {name}
    return found


def _imported_by(tree: ast.AST, modules: set[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(full if full <= modules else full | {node.module})
    return found


def _package(module: str) -> str:
    """Return the package or top-level module of devlxd that a module is in."""
    return (module.split(".")[1:2] or ["devlxd"])[0]


def _upward(imports: Mapping[str, set[str]]) -> list[str]:
    """Return the imports that are not from a lower layer, one line for each.

    If packages are in no layer, return a line for each of these instead.
    """
    layers = [*LAYERS, {CLIENT}]
    level = {name: n for n, layer in enumerate(layers) for name in layer}
    unknown = sorted({_package(module) for module in imports} - set(level))
    if unknown:
        return [f"{package} is in no layer" for package in unknown]
    return sorted(
        f"{module} imports {imported}"
        for module, all_imported in imports.items()
        for imported in all_imported
        if _package(module) != _package(imported)
        and level[_package(imported)] <= level[_package(module)]
    )


class ImportTests(SynchronousTestCase):
    """Imports of the modules of devlxd."""

    def test_no_reactor(self) -> None:
        """Importing a module never installs a reactor: the agent chooses it."""
        names = [m.name for m in getModule("devlxd").walkModules()]
        code = (
            f"import sys, importlib; [importlib.import_module(n) for n in {names}]; "
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        finished = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(finished.returncode, 0)

    def test_layers(self) -> None:
        """Each module imports from its own package, and from lower layers."""
        self.assertEqual(_upward(_imports()), [])

    def test_client(self) -> None:
        """Imports of the client from the server, and within a layer, are reported."""
        imports = {
            "devlxd.client.guest": {"devlxd.client.errors", "devlxd.model"},
            "devlxd.commands.main": {"devlxd.client.guest"},
            "devlxd.events.bus": {"devlxd.peers.runs"},
        }
        self.assertEqual(
            _upward(imports),
            [
                "devlxd.client.guest imports devlxd.model",
                "devlxd.events.bus imports devlxd.peers.runs",
            ],
        )

    def test_unknown_package(self) -> None:
        """A package in no layer is reported by its name."""
        imports = {"devlxd.new.module": {"devlxd.model"}, "devlxd.model": set[str]()}
        self.assertEqual(_upward(imports), ["new is in no layer"])

    def test_no_circles(self) -> None:
        """No modules import each other in a cycle, not even for the type checker."""
        try:
            TopologicalSorter(_imports()).prepare()
        except CycleError as error:
            self.fail(" -> ".join(error.args[1]))

    def test_import_bare(self) -> None:
        """Importing only the package ``devlxd`` does not import Twisted."""
        code = "import sys, devlxd; sys.exit('twisted' in sys.modules)"
        finished = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(finished.returncode, 0)
