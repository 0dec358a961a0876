"""Build the documentation of devlxd: ``tox -e docs``.

Nothing is fetched from the network. A name in single backquotes is a reference
to a Python object, in these pages and in docstrings. A reference to an object
that the API reference does not document, such as one of Twisted, is rendered
as text if the object exists, and is a warning otherwise.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from docutils.nodes import Element, TextElement, field_list
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry, PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode
from twisted.python.reflect import namedAny
from zope.interface.interface import InterfaceClass

import devlxd

sys.path.insert(0, str(Path(__file__).parent))

project = "devlxd"
release = version = devlxd.__version__
extensions = [
    "command_line",
    "sphinx.ext.autodoc",
    "sphinxcontrib.openapi",
    "sphinxcontrib.zopeext.autointerface",
]
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "member-order": "bysource"}
python_use_unqualified_type_names = True
html_theme = "furo"
html_title = f"devlxd {release}"
html_copy_source = False

#: The modules whose names docstrings use without saying where they are.
_IMPORTED = re.compile(r"(?:autobahn|devlxd|treq|twisted|zope)\b")

#: The package for guests.
_CLIENT = "devlxd.client"

_TESTING = ("devlxd.testing", "devlxd.testing.contracts")

_log = logging.getLogger(__name__)

# autodoc writes the repr() of an interface into signatures.
InterfaceClass.__repr__ = lambda self: f"{self.__module__}.{self.__name__}"


@functools.cache
def _functions(module: str) -> dict[str, dict[str, ast.FunctionDef]]:
    """Return the functions in each class of a module, by their names."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        node.name: {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def add_annotations(
    app: Sphinx, what: str, name: str, obj: object, *_: object
) -> tuple[str, str | None] | None:
    """Add the types to the signature of a method of an interface.

    ``zope.interface`` does not keep them; the source does.
    """
    interface = getattr(obj, "interface", None)
    if what != "interfacemethod" or not isinstance(interface, InterfaceClass):
        return None
    method = name.rpartition(".")[2]
    function = _functions(interface.__module__)[interface.__name__][method]
    returns = None if function.returns is None else ast.unparse(function.returns)
    return f"({ast.unparse(function.args)})", returns


def merge_headers(app: Sphinx, domain: str, objtype: str, content: Element) -> None:
    """Keep one line for each header of an HTTP resource.

    The renderer of OpenAPI files writes one for each status that has the header.
    """
    if domain == "http":
        for fields in content.findall(field_list):
            by_text = {field.astext(): field for field in fields.children}
            fields.children = list(by_text.values())


def resolve(
    app: Sphinx, env: BuildEnvironment, node: Element, text: TextElement
) -> Element | None:
    """Resolve a reference that does not spell out where the object is documented.

    :return: a link to the only documented object whose name ends as the
        reference does; else the text alone if the object exists elsewhere.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    domain = env.get_domain("py")
    assert isinstance(domain, PythonDomain)
    found = _documented(target, domain)
    if len(found) == 1:
        entry = domain.objects[found[0]]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, [text], found[0]
        )
    owner = f"{node.get('py:module')}.{node.get('py:class')}"
    return text if found or _exists(target) or _is_member(owner, target) else None


def _documented(target: str, domain: PythonDomain) -> list[str]:
    """Return the full names of the documented objects that can be meant."""
    parts = target.split(".")
    # An object may be documented where it is imported, not where it is defined.
    starts = range(len(parts)) if parts[0] == "devlxd" else range(1)
    for start in starts:
        end = "." + ".".join(parts[start:])
        found = [name for name in domain.objects if f".{name}".endswith(end)]
        if found:
            return found
    return []


def _exists(target: str) -> bool:
    """Return whether an object exists, by its full name or as modules import it."""
    with contextlib.suppress(AttributeError, ImportError, ValueError):
        namedAny(target)
        return True
    first, *rest = target.split(".")
    modules = [m for name, m in list(sys.modules.items()) if _IMPORTED.match(name)]
    return any(
        _has(vars(module)[first], rest)
        for module in [*modules, builtins]
        if first in vars(module)
    )


def _is_member(owner: str, name: str) -> bool:
    """Return whether a class has a member, which may be an attribute of instances."""
    try:
        class_ = namedAny(owner)
    except (AttributeError, ImportError, ValueError):
        return False
    return (
        hasattr(class_, name)
        or any(name in vars(c).get("__annotations__", ()) for c in class_.__mro__)
        or f":ivar {name}:" in (class_.__doc__ or "")
    )


def _has(found: object, names: Sequence[str]) -> bool:
    for name in names:
        if isinstance(found, InterfaceClass) and name in found:
            found = found[name]
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return False
    return True


class Domain(PythonDomain):
    """The domain for Python, with two sets of names: of the server, and of guests.

    Both have an ``Event``, for example.
    """

    def find_obj(
        self,
        env: BuildEnvironment,
        modname: str | None,
        classname: str | None,
        name: str,
        type: str | None,
        searchmode: int = 0,
    ) -> list[tuple[str, ObjectEntry]]:
        """See `PythonDomain.find_obj`; of several, return those of the same set."""
        found = super().find_obj(env, modname, classname, name, type, searchmode)
        guest = (modname or "").startswith(_CLIENT)
        same = [(name, o) for name, o in found if name.startswith(_CLIENT) == guest]
        return same or found


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of names in the ``__all__`` of public modules that no page documents."""
    domain = env.get_domain("py")
    assert isinstance(domain, PythonDomain)
    for module in ("devlxd", "devlxd.interfaces", *_TESTING):
        for name in namedAny(module).__all__:
            if f"{module}.{name}" not in domain.objects:
                _log.warning("not documented: %s.%s", module, name)


def setup(app: Sphinx) -> None:
    """See the documentation of Sphinx."""
    app.add_domain(Domain, override=True)
    app.connect("env-check-consistency", check_complete)
    app.connect("autodoc-process-signature", add_annotations)
    app.connect("missing-reference", resolve)
    app.connect("object-description-transform", merge_headers)
    # zopeext adds a script that needs jQuery, which no page has.
    app.registry.js_files = [
        (name, attributes)
        for name, attributes in app.registry.js_files
        if "body" not in attributes
    ]
