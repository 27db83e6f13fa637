"""Train the teacher that ships with the package (autoopt/tasks/fashion_data/teacher.safetensors, float16).

    python experiments/fashion_data/train_teacher.py      # about 15 minutes on 2 cores

It sees the very train split that students see. Flips and shifts of two pixels are its only augmentation; no label
smoothing, since it spoils the logits for distillation (Mueller et al. 2019, arXiv:1906.02629).
"""

import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autoopt.core.inputs import Inputs
from autoopt.tasks.fashion import DATA, fashion
from autoopt.tasks.resnet import resnet

EPOCHS, BATCH, SEED = 24, 128, 0


def augment(images: Tensor) -> Tensor:
    """Flip half of the batch; shift each image by up to two pixels each way. (n, 1, 28, 28) -> the same shape."""
    flip = torch.rand(len(images)) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    dx, dy = (torch.randint(0, 5, (len(images), 1)) for _ in range(2))
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    rows = (dy + torch.arange(28))[:, :, None]
    columns = (dx + torch.arange(28))[:, None, :]
    return padded[torch.arange(len(images))[:, None, None], 0, rows, columns][:, None]


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Inputs, targets: Tensor) -> float:
    model.eval()
    predicted = torch.cat([model(*batch).argmax(1) for batch in inputs.batches(500)])
    return (predicted == targets).float().mean().item()


def main() -> None:
    torch.manual_seed(SEED)
    task = fashion()
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = EPOCHS * -(-len(task.train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps, pct_start=0.2)
    start = time.perf_counter()
    for epoch in range(EPOCHS):
        model.train()
        for index in torch.randperm(len(task.train)).split(BATCH):
            loss = nn.functional.cross_entropy(model(augment(*task.train.inputs[index])), task.train.targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        score = accuracy(model, task.validation.inputs, task.validation.targets)
        print(f"epoch {epoch + 1}/{EPOCHS} validation {score:.4f} ({time.perf_counter() - start:.0f} s)", flush=True)

    # Half precision on disk; the scores below are those of the weights as they will be loaded.
    half = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file(
        half,
        DATA / "teacher.safetensors",
        metadata={"task": task.fingerprint, "seed": str(SEED), "epochs": str(EPOCHS)},
    )
    model.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in half.items()})
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    scores = {name: round(accuracy(model, split.inputs, split.targets), 4) for name, split in splits.items()}
    Path(__file__).with_name("teacher.json").write_text(
        json.dumps({"accuracy": scores, "epochs": EPOCHS, "seed": SEED}, indent=2) + "\n"
    )
    print(scores)


if __name__ == "__main__":
    main()
