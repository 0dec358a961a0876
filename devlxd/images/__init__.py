"""Stores of the images that guests may download.

Each provides `devlxd.interfaces.IImageStore`:

* `devlxd.images.directory_image_store`: images in a directory of the host, into
  which `devlxd.images.adding` puts them, and where `devlxd.images.listing` and
  `devlxd.images.changing` find and change them for the operator;
* `devlxd.images.upstream_image_store`: the images of an LXD or Incus on the host,
  over its REST API;
* `devlxd.images.memory_image_store`: images in memory, for tests and the demo.

Which container may download images, and how they are sent, is not decided here
but in `devlxd.guestapi`.
"""
