"""What every training shares: a run's folder, settings, the state that a resume goes on from."""
