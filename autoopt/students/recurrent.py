"""Recurrent students for text, in both directions."""

import torch
from torch import Tensor, nn

from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature, Tokens
from autoopt.students.embedding import masked_mean, task_embedding
from autoopt.students.widths import scaled

DROPOUT = 0.2


class Recurrent(nn.Module):
    """Token ids (n, length) to logits, from mean and maximum of the states over the tokens.

    Padded vectors are zero, but the backward direction does begin on them: training batches hold sentences of about one
    length, and one sentence a call has none.
    """

    def __init__(self, tokens: Tokens, embedding: nn.Module, cell: nn.RNNBase, classes: int) -> None:
        super().__init__()
        self.pad, self.embedding, self.cell = tokens.pad, embedding, cell
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(4 * cell.hidden_size, classes))

    def forward(self, ids: Tensor) -> Tensor:
        mask = ids != self.pad
        kept = mask.unsqueeze(-1).to(torch.float32)
        states, _ = self.cell(self.embedding(ids) * kept)
        highest = (states * kept - (1 - kept) * 1e4).amax(1)
        logits: Tensor = self.head(torch.cat([masked_mean(states, mask), highest], 1))
        return logits


def bigru(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """96 times width states in each direction."""
    return _recurrent(nn.GRU, signature, teacher, recipe)


def bilstm(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """96 times width states in each direction."""
    return _recurrent(nn.LSTM, signature, teacher, recipe)


def _recurrent(cell: type[nn.RNNBase], signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    assert signature.tokens is not None
    embedding, dimensions = task_embedding(teacher, signature.tokens, recipe.embedding_rank)
    states = cell(dimensions, scaled(96, recipe), batch_first=True, bidirectional=True)  # type: ignore[call-arg,arg-type]
    return Recurrent(signature.tokens, embedding, states, signature.classes)
