"""Use cases: what pages, the command line and workers do."""
