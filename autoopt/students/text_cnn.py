"""A convolutional student for text: filters over neighbouring tokens, the strongest answer of each (Kim 2014,
arXiv:1408.5882).
"""

import torch
from torch import Tensor, nn

from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature, Tokens
from autoopt.students.embedding import task_embedding
from autoopt.students.widths import scaled

SPANS, DROPOUT = (1, 3, 5), 0.2  # tokens that a filter sees


class TextCnn(nn.Module):
    """Token ids (n, length) to logits."""

    def __init__(self, tokens: Tokens, embedding: nn.Module, dimensions: int, filters: int, classes: int) -> None:
        super().__init__()
        self.pad, self.embedding = tokens.pad, embedding
        self.convolutions = nn.ModuleList(nn.Conv1d(dimensions, filters, span, padding=span // 2) for span in SPANS)
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(filters * len(SPANS), classes))

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids != self.pad).unsqueeze(1).to(torch.float32)
        vectors = self.embedding(ids).transpose(1, 2) * mask
        answers = [(torch.relu(convolution(vectors)) * mask).amax(2) for convolution in self.convolutions]
        logits: Tensor = self.head(torch.cat(answers, 1))
        return logits


def text_cnn(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """64 times width filters for each of three spans."""
    assert signature.tokens is not None
    embedding, dimensions = task_embedding(teacher, signature.tokens, recipe.embedding_rank)
    return TextCnn(signature.tokens, embedding, dimensions, scaled(64, recipe), signature.classes)
