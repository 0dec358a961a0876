"""Who asks: credentials, /proc, the cgroups of runtimes, the caller."""
