"""What two processes of one thread can gain on this machine at best: bare training, no search, one beside two.

python -m experiments.scaling.ceiling       # ceiling.json
"""

import json
import multiprocessing
import time
from pathlib import Path

import torch
from torch import nn

SECONDS, ROUNDS = 6.0, 3


def steps(_: int = 0) -> float:
    """Training steps a second of a small convolutional net."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    head = nn.Linear(32 * 14 * 14, 10)
    rows, targets = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()])
    end, done = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(model(rows)), targets).backward()
        optimizer.step()
        done += 1
    return done / SECONDS


def main() -> None:
    found = []
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(steps, range(2), chunksize=1)  # imports
        for _ in range(ROUNDS):
            one = pool.map(steps, range(1), chunksize=1)[0]
            two = sum(pool.map(steps, range(2), chunksize=1))
            found.append({"one": round(one, 1), "two": round(two, 1), "ratio": round(two / one, 3)})
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(found)


if __name__ == "__main__":
    main()
