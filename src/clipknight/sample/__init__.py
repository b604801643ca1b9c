"""The synthetic sample: a small world, its captions and drawings."""
