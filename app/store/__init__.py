"""Tables, repositories, artifacts, blobs, scores: all that remembers."""
