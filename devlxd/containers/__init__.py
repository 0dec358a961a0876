"""Container stores: the sources of the containers' configuration.

The package contains the stores, and the modules that find, read and parse the
documents on disk for the directory store. A store does not depend on guests,
connections or events; it notifies its observers of changed snapshots.
"""
