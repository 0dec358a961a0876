"""What can be downloaded: images, from a directory or from a LXD."""
