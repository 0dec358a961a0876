"""The ``devlxd`` command, for operators. ``twistd devlxd`` is `devlxd.tap`."""
