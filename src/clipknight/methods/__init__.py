"""The other ways to caption and to answer, by name."""
