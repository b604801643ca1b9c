"""Predicted embeddings of pictures by an exported run: python docs/use_exported.py EXPORTED_FOLDER PICTURE..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

folder, pictures = Path(sys.argv[1]), sys.argv[2:]
told = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
size, batch = told["resize"]["height"], []
for picture in pictures:
    image = ImageOps.exif_transpose(Image.open(picture)).convert("RGB")
    short = min(image.size)
    image = image.resize([int(size * side / short) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
    batch.append(((pixels - told["mean"]) / told["std"]).transpose(2, 0, 1))
rows = session.run(["embedding"], {"pixels": np.stack(batch).astype(np.float32)})[0]
for picture, row in zip(pictures, rows):
    print(picture, *row[:4].round(4), "…", f"{len(row)} numbers, length {np.linalg.norm(row):.4f}")
