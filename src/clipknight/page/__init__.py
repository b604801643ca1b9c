"""The page that `src/serve.py` shows: drop pictures or clips, see captions and why."""
