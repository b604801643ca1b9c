"""Knight: a decoder after the nearest captions, what it learns and how it is asked."""
