"""Reports: immutable snapshots of a run, shared by link and exported as files."""
