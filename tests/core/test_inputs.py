from typing import Any

import numpy as np
import pytest
import torch

from autoopt.core.inputs import Inputs

IDS = [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [6, 0, 0, 0, 0], [7, 8, 9, 1, 2]]
LENGTHS = [3, 2, 1, 5]


@pytest.fixture(params=["torch", "numpy"])
def sentences(request: pytest.FixtureRequest) -> Inputs:
    """Ids and masks that are padded, and one number a sentence that is not."""
    arrays = {"ids": torch.tensor(IDS), "mask": torch.tensor(IDS) > 0, "age": torch.arange(8.0).reshape(4, 2)}
    inputs = Inputs(arrays, torch.tensor(LENGTHS), ("ids", "mask"))
    return inputs if request.param == "torch" else inputs.numpy()


def test_what_is_taken_out_is_cut_to_its_longest(sentences: Inputs) -> None:
    pair = sentences[:2]
    assert [tuple(array.shape) for array in pair] == [(2, 3), (2, 3), (2, 2)]
    assert pair.arrays["ids"].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert sentences[2:3].arrays["ids"].tolist() == [[6]]
    assert [tuple(array.shape) for array in sentences[1:3][1:]] == [(1, 1), (1, 1), (1, 2)], "twice"


def test_an_array_of_places_picks_rows(sentences: Inputs) -> None:
    picked = sentences[torch.tensor([2, 1])] if torch.is_tensor(sentences.lengths) else sentences[np.array([2, 1])]
    assert picked.arrays["ids"].tolist() == [[6, 0], [4, 5]]
    assert picked.lengths.tolist() == [1, 2]  # type: ignore[union-attr]


def test_batches_are_whole_and_in_order(sentences: Inputs) -> None:
    seen: list[Any] = [batch.arrays["age"].tolist() for batch in sentences.batches(3)]
    assert [row for rows in seen for row in rows] == sentences.arrays["age"].tolist()
    assert [len(batch) for batch in sentences.batches(3)] == [3, 1]


def test_without_lengths_nothing_is_cut() -> None:
    images = Inputs({"input": torch.zeros(4, 1, 8, 8)})
    assert next(iter(images[1:3])).shape == (2, 1, 8, 8)
    assert len(images) == 4
