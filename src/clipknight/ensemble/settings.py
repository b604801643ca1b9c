"""What flags of Models A and B offer; nothing heavy is imported here."""

# Classes are named, not imported: see heads.py.
HEADS = {
    "che": "clipknight.ensemble.heads:CheHead",
    "linear": "clipknight.ensemble.heads:LinearHead",
    "wide": "clipknight.ensemble.heads:WideHead",
}
INDEX_PARAMS = {"exact": (), "ivf": ("nlist", "nprobe"), "hnsw": ("M", "efConstruction", "efSearch")}  # of Model B
