"""The stages: each a pure function of artifacts to an artifact, under a key of all that it depends on."""
