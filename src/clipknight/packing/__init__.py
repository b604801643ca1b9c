"""Packing a run with all that it stands on, for another machine, the hub, or Kaggle."""
