"""A bag of embeddings: the mean of the token vectors, then a multilayer perceptron."""

import torch
from torch import Tensor, nn

from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature, Tokens
from autoopt.students.embedding import CutEmbedding, masked_mean, task_embedding
from autoopt.students.widths import scaled

BUCKETS, FACTOR, DROPOUT = 4096, 31_337, 0.2  # of hashed pairs


class Bag(nn.Module):
    """Token ids (n, length) to logits. With `ngrams` 2, pairs of neighbours have vectors too, by their hash."""

    def __init__(self, tokens: Tokens, embedding: CutEmbedding, dimensions: int, ngrams: int, head: nn.Module) -> None:
        super().__init__()
        self.pad, self.embedding, self.head = tokens.pad, embedding, head
        self.pairs = nn.Embedding(BUCKETS, dimensions) if ngrams == 2 else None
        if self.pairs is not None:
            nn.init.zeros_(self.pairs.weight)  # what they add, they have to learn

    def forward(self, ids: Tensor) -> Tensor:
        mask = ids != self.pad
        mean = masked_mean(self.embedding(ids), mask)
        if self.pairs is not None:
            rows = self.embedding.rows[ids].to(torch.int64)  # a word that stands for another has its pairs, too
            before = torch.cat([torch.zeros_like(rows[:, :1]), rows[:, :-1] + 1], 1)  # 0 before the first
            mean = mean + masked_mean(self.pairs((before * FACTOR + rows) % BUCKETS), mask)
        logits: Tensor = self.head(mean)
        return logits


def bag(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """One hidden layer of 256 times width."""
    assert signature.tokens is not None
    embedding, dimensions = task_embedding(teacher, signature.tokens, recipe.embedding_rank)
    hidden = scaled(256, recipe)
    head = nn.Sequential(
        nn.Linear(dimensions, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(hidden, signature.classes),
    )
    return Bag(signature.tokens, embedding, dimensions, recipe.ngrams or 1, head)
