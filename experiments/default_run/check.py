"""Does the champion reproduce its card? Plain onnxruntime and numpy, no autoopt: python check.py CHAMPION_FOLDER"""

import io
import json
import lzma
import sys
from pathlib import Path

import numpy as np
import onnxruntime

DATA = Path(__file__).parents[2] / "autoopt" / "tasks" / "fashion_data" / "images.npz.xz"


def main(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    arrays = np.load(io.BytesIO(lzma.decompress(DATA.read_bytes())))
    for split, claimed in (
        ("validation", card["measurements"]["accuracy"]["value"]),
        ("test", card["test"]["value"]),
    ):
        images = arrays[f"{split}_images"][:, None].astype(np.float32) / 255
        predicted = [session.run(None, {"input": image[None]})[0].argmax() for image in images]
        found = float(np.mean(predicted == arrays[f"{split}_labels"]))
        print(
            f"check: {split} accuracy {found:.6f}, card {claimed:.6f}, {'equal' if found == claimed else 'DIFFERENT'}"
        )
        assert found == claimed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
