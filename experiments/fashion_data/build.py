"""Build the subset of Fashion-MNIST that ships with the package (autoopt/tasks/fashion_data/images.npz.xz).

    apt-get install dataset-fashion-mnist      # Debian's copy of the original files
    python experiments/fashion_data/build.py

Stratified by class and fixed by seed: train 8,000 and validation 3,000 from the original training file, test 4,000 from
the original test file. The three are disjoint, which the script checks image by image.
"""

import gzip
import io
import lzma
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
TARGET = Path(__file__).parents[2] / "autoopt" / "tasks" / "fashion_data" / "images.npz.xz"
SIZES = {"train": 8000, "validation": 3000, "test": 4000}
CLASSES = 10


def read(prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,), both uint8, from the idx files (16 and 8 bytes of header)."""
    images = np.frombuffer(
        gzip.decompress((SOURCE / f"{prefix}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((SOURCE / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    return images.reshape(-1, 28, 28), labels


def draw(labels: np.ndarray, sizes: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Disjoint, stratified index sets: each class gets the same share of each set."""
    sets: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in range(CLASSES):
        order = rng.permutation(np.flatnonzero(labels == label))
        starts = np.cumsum([0, *(size // CLASSES for size in sizes)])
        for chosen, start, stop in zip(sets, starts[:-1], starts[1:], strict=True):
            chosen.append(order[start:stop])
    return [rng.permutation(np.concatenate(chosen)) for chosen in sets]


def main() -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for prefix, names in (("train", ("train", "validation")), ("t10k", ("test",))):
        images, labels = read(prefix)
        for name, index in zip(names, draw(labels, [SIZES[name] for name in names], rng), strict=True):
            arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[index], labels[index]
    seen = [{image.tobytes() for image in arrays[f"{name}_images"]} for name in SIZES]
    shared = (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])
    assert not shared, f"{len(shared)} images stand in two splits"

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    TARGET.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(
        f"{TARGET.name}: {TARGET.stat().st_size / 1e6:.2f} MB, {', '.join(f'{k} {v.shape}' for k, v in arrays.items())}"
    )


if __name__ == "__main__":
    main()
