# -*- test-case-name: tests.guestapi.test_dialects -*-
"""The tree of resources that is built from the routes of a dialect."""

from __future__ import annotations

from devlxd.guestapi.dialect import PathPattern, Services
from devlxd.guestapi.resource_bases import GuestResource, NotFoundResource


def resource_tree(services: Services) -> GuestResource:
    """Build the tree for ``services.dialect``, and return its root."""
    root = NotFoundResource(services, PathPattern("/"))
    # Add a path after those above it: `putChild` would replace a resource that was
    # created for a path below it, and lose the children.
    for pattern in sorted(services.dialect.routes, key=lambda p: (p.count("/"), p)):
        path = PathPattern(pattern)
        resource = services.dialect.routes[pattern](services, path)
        if resource is None:
            continue
        assert isinstance(resource, GuestResource), pattern
        _put(root, path, resource)
    return root


def _put(root: GuestResource, path: PathPattern, resource: GuestResource) -> None:
    *above, last = path.fixed
    parent = root
    for segment in above:
        parent = _child(parent, segment)
    if path.has_variable:
        _child(parent, last).put_below(resource)
    else:
        parent.putChild(last.encode("ascii"), resource)


def _child(parent: GuestResource, segment: str) -> GuestResource:
    """Return the child at a path segment; add a `NotFoundResource` if there is none."""
    name = segment.encode("ascii")
    child = parent.children.get(name)
    if child is None:
        child = NotFoundResource(parent.services, parent.path)
        parent.putChild(name, child)
    assert isinstance(child, GuestResource)
    return child
