"""Embedding tables of text students: that of the teacher, cut to the task's vocabulary and to fewer dimensions."""

import torch
from torch import Tensor, nn

from autoopt.core.signature import Tokens


class CutEmbedding(nn.Module):
    """Token ids (n, length) to vectors (n, length, dimensions), for the ids of `kept` alone; all others are read as the
    unknown one.

    `project` turns the table's columns, which may be few, into the dimensions that the model wants.
    """

    def __init__(self, table: Tensor, tokens: Tokens, kept: tuple[int, ...], project: Tensor | None = None) -> None:
        super().__init__()
        rows = torch.full((tokens.vocabulary,), kept.index(tokens.unknown), dtype=torch.int32)
        rows[torch.tensor(kept)] = torch.arange(len(kept), dtype=torch.int32)
        self.rows: Tensor
        self.register_buffer("rows", rows)
        self.table = nn.Embedding.from_pretrained(table.clone(), freeze=False)
        self.project: nn.Module = nn.Identity()
        if project is not None:
            self.project = nn.Linear(project.shape[0], project.shape[1], bias=False)
            with torch.no_grad():
                self.project.weight.copy_(project.T)  # type: ignore[operator]

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.project(self.table(self.rows[ids]))
        return vectors


def task_embedding(teacher: nn.Module, tokens: Tokens, rank: int | None) -> tuple[CutEmbedding, int]:
    """The teacher's vectors of the tokens that the task uses, and how many dimensions they have: in their own, or the
    `rank` that keep most of their variance.
    """
    table = teacher_table(teacher)[list(tokens.used)]
    if rank is not None and rank < table.shape[1]:
        left, _ = factors(table, rank)
        table = left
    return CutEmbedding(table, tokens, tokens.used), table.shape[1]


def factors(table: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rows, rank) and (rank, columns), whose product is the closest to the table that there is (truncated SVD)."""
    u, s, v = torch.linalg.svd(table, full_matrices=False)
    scale = s[:rank].sqrt()
    return u[:, :rank] * scale, scale[:, None] * v[:rank]


def teacher_table(teacher: nn.Module) -> Tensor:
    """The weights of the teacher's largest embedding (vocabulary, dimensions)."""
    tables = [module.weight.detach() for module in teacher.modules() if isinstance(module, nn.Embedding)]
    return max(tables, key=len)


def masked_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """(n, length, d) and (n, length) to (n, d), over what the mask has."""
    kept = mask.unsqueeze(-1).to(vectors.dtype)
    return (vectors * kept).sum(1) / kept.sum(1).clamp(min=1.0)
