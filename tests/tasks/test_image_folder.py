"""Folders of images: generated ones, and digits as the real small set."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from autoopt.artifacts.cache import Cache
from autoopt.core.errors import ConfigError
from autoopt.pruning import METHODS
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import TASKS
from autoopt.tasks.checks import check_task
from autoopt.training.loop import Hooks, module_quality
from autoopt.training.teacher import TeacherOptions, load_teacher


def write(folder: Path, images: np.ndarray, classes: list[str]) -> None:
    """Images (n, h, w[, 3]) of bytes, one file each."""
    for i, (image, name) in enumerate(zip(images, classes, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{i:04d}.png")


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Red and blue rectangles in noise."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("test", 20)):
        images = rng.integers(0, 60, (n, 20, 30, 3), dtype=np.uint8)
        names = ["blue" if i % 2 else "red" for i in range(n)]
        for image, name in zip(images, names, strict=True):
            image[5:15, 8:22, 0 if name == "red" else 2] = 220
        write(tmp_path / part, images, names)
    return tmp_path


def load(path: Path, **options: Any) -> Any:
    return TASKS["image_folder"](path=str(path), **options)


def test_folders_become_splits_of_squares(colours: Path) -> None:
    task = load(colours, size=16)
    assert (len(task.train), len(task.validation), len(task.test), task.classes) == (36, 4, 20, 2)
    assert task.signature.input_shape == (3, 16, 16)
    assert task.files["labels.json"] == b'["blue", "red"]\n'
    check_task(task)
    pixels = next(iter(task.train.inputs))
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1
    red = task.train.targets == 1
    assert (pixels[red, 0, 8, 8] > 0.7).all()
    assert (pixels[~red, 2, 8, 8] > 0.7).all()
    assert load(colours, size=16).fingerprint == task.fingerprint
    assert load(colours, size=16, grey=True).signature.input_shape == (1, 16, 16)


def test_sixteen_bits_a_pixel_keep_their_shades(tmp_path: Path) -> None:
    shades = np.linspace(0, 65535, 16).round().astype(np.uint16)
    for part in ("train", "test"):
        images = np.stack([np.tile(shades, (16, 1))] * 20)
        images[:, 15, 15] = 3000 * np.arange(20)  # no two are equal
        write(tmp_path / part, images, ["a", "b"] * 10)
    pixels = next(iter(load(tmp_path, size=16, grey=True).train.inputs))
    assert torch.allclose(pixels[0, 0, 0], torch.linspace(0, 1, 16), atol=0.02)


def test_a_folder_that_is_hidden_is_no_class(colours: Path) -> None:
    (colours / "test" / ".ipynb_checkpoints").mkdir()
    assert load(colours, size=16).classes == 2


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A residual network of five classes, as transformers saves one."""
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
    torch.manual_seed(0)
    folder = tmp_path / "pretrained"
    ResNetForImageClassification(ResNetConfig(num_labels=5, **sizes)).save_pretrained(folder)
    means = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (folder / "preprocessor_config.json").write_text(json.dumps(means))
    return folder


@pytest.mark.parametrize("grey", [False, True])
def test_a_pretrained_classifier_is_fine_tuned_pruned_and_exported(
    grey: bool, colours: Path, pretrained: Path, tmp_path: Path
) -> None:
    task = load(colours, size=16, grey=grey, pretrained=str(pretrained))
    teacher = task.build_teacher().eval()
    images = next(iter(task.train.inputs))
    with torch.no_grad():
        normal = (images - torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).reshape(
            3, 1, 1
        )
        assert torch.equal(teacher(images), teacher.model(pixel_values=normal).logits)
    stem = load_file(pretrained / "model.safetensors")["resnet.embedder.embedder.convolution.weight"]
    assert torch.equal(teacher.state_dict()["model.resnet.embedder.embedder.convolution.weight"], stem), "pretrained"
    options = TeacherOptions(epochs=8, learning_rate=1e-2, batch_size=12)
    trained = load_teacher(task, options, Cache(tmp_path), 0, Hooks())
    if not grey:
        assert module_quality(trained, task.test) == 1.0
    pruned = METHODS["structured_magnitude"].prune(trained, task.train.inputs[:8], task.train.targets[:8], 0.5).model
    export(pruned, task.test.inputs[:2], tmp_path / "m.onnx")
    assert RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1)(task.test.inputs[:1].numpy()).shape == (1, 2)


def test_what_is_no_classifier_or_takes_another_size_is_told(colours: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is no image classifier that transformers can load"):
        load(colours, pretrained=str(tmp_path / "empty")).build_teacher()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match=r"task.size=64: .* takes images of 32: type task.size=32"):
        load(colours, pretrained=str(tmp_path / "vit")).build_teacher()


def test_a_validation_folder_serves_where_it_is(colours: Path) -> None:
    (colours / "test").rename(colours / "validation")
    write(colours / "test", np.zeros((2, 9, 9), np.uint8), ["red", "blue"])
    task = load(colours, size=16)
    assert (len(task.train), len(task.validation), len(task.test)) == (40, 20, 2)


@pytest.mark.slow
def test_the_teacher_learns_a_real_small_set(tmp_path: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    names = [f"digit-{label}" for label in labels]
    write(tmp_path / "d" / "train", images[:1200], names[:1200])
    write(tmp_path / "d" / "test", images[1200:], names[1200:])
    task = load(tmp_path / "d", size=16, grey=True)
    teacher = load_teacher(task, TeacherOptions(epochs=4), Cache(tmp_path / "cache"), 0, Hooks())
    assert module_quality(teacher, task.test) > 0.85


def test_a_wrong_size_is_named(colours: Path) -> None:
    with pytest.raises(ConfigError, match="task.size=4: a whole number from 8 to 1024"):
        load(colours, size=4)


def test_folders_that_do_not_fit_are_named(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task.path=None: a folder with train and test/CLASS/IMAGE is needed"):
        TASKS["image_folder"]()
    (colours / "test" / "green").mkdir()
    with pytest.raises(ConfigError, match="has classes that train lacks: green"):
        load(colours)
    (colours / "test" / "green").rmdir()
    (colours / "train" / "red" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="broken.png is no image that can be read"):
        load(colours)
