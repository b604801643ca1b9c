"""Images and captions as vectors: encoders, the cache, splits by similar captions, what scores vectors."""
