"""The ``devlxd`` command."""
