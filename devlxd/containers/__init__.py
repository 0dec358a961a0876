"""Container stores: where devlxd gets the containers' configuration from.

Here are the stores themselves, and what reads documents on disk for the directory
store: finding, reading and parsing them. A store knows nothing of guests,
connections and events; it notifies its observers of changed snapshots.
"""
