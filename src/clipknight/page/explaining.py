"""Why one file of an upload got its caption: the API's explanation, and its place on the corpus' map."""

from clipknight.api.explanation import Explanation
from clipknight.page.captioning import Captioned
from clipknight.page.models import Loaded


def explained(loaded: Loaded, item: Captioned) -> tuple[Explanation, str]:
    """The explanation of a picture, or of a clip's middle frame, and the map; "" where the model predicts no place."""
    explanation = loaded.model.explain(item.explained)
    if not loaded.model.source.run:
        return explanation, ""
    retriever = loaded.model.captioner.retriever
    vector = loaded.model.predict(item.explained, progress=False).vectors[0]
    _, (rows,) = retriever.search(vector[None], len(explanation.neighbours))
    captions = [retriever.corpus.texts[row] for row in rows]
    return explanation, loaded.map.drawing(vector, retriever.vectors[rows], captions)
