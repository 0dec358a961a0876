"""The plugin that adds the command ``devlxd`` to twistd.

twistd imports all plugins, but `devlxd.tap` only when this command is used.
"""

from twisted.application.service import ServiceMaker

devlxd = ServiceMaker(
    "devlxd",
    "devlxd.tap",
    "The guest API of LXD, /dev/lxd/sock, for the containers of this host.",
    "devlxd",
)
