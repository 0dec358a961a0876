"""What has changed: snapshots -> events, the bus, what is remembered."""
