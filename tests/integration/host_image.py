"""An image for LXD and Incus, whose containers mount the programs of the host."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.integration.lxc import ROOT_DIRECTORIES

#: The device of a container's root directory.
ROOT_DISK = ["disk", "path=/", "pool=default"]

_METADATA = """\
architecture: x86_64
creation_date: 1700000000
properties: {description: the root of the host}
templates: {}
"""


def write_image(directory: Path) -> Path:
    """Write an image with the empty directories of a root; return its path.

    :param directory: a directory in which there is no ``image`` yet.
    """
    root = directory / "image"
    for name in ROOT_DIRECTORIES:
        (root / "rootfs" / name).mkdir(parents=True)
    (root / "metadata.yaml").write_text(_METADATA)
    image = directory / "image.tar.gz"
    with tarfile.open(image, "w:gz") as tar:
        tar.add(root / "metadata.yaml", "metadata.yaml")
        tar.add(root / "rootfs", "rootfs")
    return image
