"""The plugins of pytest for the tests in this directory."""

pytest_plugins = ["devlxd.testing.pytest_plugin"]
