"""Events: the changes between snapshots of a container.

The bus compares the snapshots of a store, records the events in the journal, and
delivers them to subscribers. This package does not know how events are rendered, or
which config keys guests may see.
"""
