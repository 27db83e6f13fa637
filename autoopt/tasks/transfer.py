"""An unlabelled transfer set for text: new sentences made from those of the train split, for the teacher to label.

Words are dropped, swapped with the next, replaced by one of similar meaning; or the first part of a sentence is joined
to the last part of another (after Tang et al. 2019, arXiv:1903.12136, and Jiao et al. 2019, arXiv:1909.10351).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DROP, SWAP, REPLACE, JOIN = 0.1, 0.1, 0.15, 0.3  # the first three for each word, the last for each sentence
NEIGHBOURS = 8
CHUNK = 512  # tokens that are held against all others at once

Words = list[list[int]]


@dataclass(frozen=True)
class Maker:
    """`sentences` by words, each word by token ids; `similar`: the tokens nearest to a token."""

    sentences: Sequence[Words]
    similar: Mapping[int, Sequence[int]]
    longest: int
    """In tokens."""

    def part(self, number: int) -> list[list[int]]:
        """As many new sentences as there are, as token ids; another number gives other ones."""
        rng = np.random.default_rng(number)
        return [self._new(words, rng) for words in self.sentences]

    def _new(self, words: Words, rng: np.random.Generator) -> list[int]:
        if rng.random() < JOIN:
            words = _joined(words, self.sentences[int(rng.integers(len(self.sentences)))], rng)
        changed = [self._replaced(word, rng) for word in words if rng.random() >= DROP]
        for i in range(len(changed) - 1):
            if rng.random() < SWAP:
                changed[i], changed[i + 1] = changed[i + 1], changed[i]
        return [token for word in changed or words for token in word][: self.longest]

    def _replaced(self, word: list[int], rng: np.random.Generator) -> list[int]:
        others = self.similar.get(word[0], ()) if len(word) == 1 and rng.random() < REPLACE else ()
        return [others[int(rng.integers(len(others)))]] if len(others) else word


def _joined(one: Words, other: Words, rng: np.random.Generator) -> Words:
    return one[: rng.integers(len(one) + 1)] + other[rng.integers(len(other) + 1) :] or one


def similar_tokens(table: np.ndarray, tokens: Sequence[int]) -> dict[int, list[int]]:
    """For each of `tokens` the NEIGHBOURS others of largest cosine in the embedding table (vocabulary, dimensions)."""
    rows = np.asarray(tokens)
    vectors = table[rows] / np.maximum(np.linalg.norm(table[rows], axis=1, keepdims=True), 1e-9)
    found: dict[int, list[int]] = {}
    for start in range(0, len(rows), CHUNK):
        likeness = vectors[start : start + CHUNK] @ vectors.T
        nearest = np.argsort(-likeness, axis=1)[:, 1 : NEIGHBOURS + 1]
        found |= {int(rows[start + i]): rows[places].tolist() for i, places in enumerate(nearest)}
    return found
