"""Datasets in the layouts people have: listings, pictures, clips, captions, questions."""
