"""CLIPRe, retrieval alone: the corpus' caption nearest to the image (the baseline of Su et al. 2022, MAGIC)."""

from clipknight.captioning.captioner import Captioner, whole_embeddings

import numpy as np


class CLIPRe(Captioner):
    """Candidates are the nearest captions as they stand; an image's consensus among them is Devlin et al. 2015."""

    def candidates(
        self, embeddings: np.ndarray, rows: np.ndarray, count: int, num_beams: int, max_new_tokens: int, **options
    ) -> list[str]:
        _, near = self.index.search(whole_embeddings(embeddings), count)
        return list(self.corpus.texts[near.ravel()])
