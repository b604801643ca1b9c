"""Model A, Model B, their blend and the submission."""
