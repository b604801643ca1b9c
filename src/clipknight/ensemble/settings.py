"""What flags of Models A and B offer; nothing heavy is imported here."""

# Classes are named, not imported: see heads.py.
HEADS = {
    "che": "clipknight.ensemble.heads:CheHead",
    "linear": "clipknight.ensemble.heads:LinearHead",
    "wide": "clipknight.ensemble.heads:WideHead",
}
INDEX_PARAMS = {  # of Model B: what each kind takes, by faiss's names
    "exact": (),
    "ivf": ("nlist", "nprobe"),
    "hnsw": ("M", "efConstruction", "efSearch"),
    "ivf_sq8": ("nlist", "nprobe"),
    "ivf_pq": ("nlist", "nprobe", "m"),
    "auto": (),
}
ON_DISK = ("ivf_sq8", "ivf_pq")  # can be built of rows in parts, and searched without being in memory
