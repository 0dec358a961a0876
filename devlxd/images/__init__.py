"""What can be downloaded: images, from a directory or from an LXD."""
