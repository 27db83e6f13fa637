"""A task of text that takes seconds: real sentences of eight intents, an encoder of two layers with random weights."""

import json
from pathlib import Path

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from autoopt.tasks import TASKS, Task

SENTENCES = Path(__file__).parent / "data" / "intents_small.json"
LONGEST = 16


def make_encoder(folder: Path) -> Path:
    """config.json, model.safetensors and tokenizer.json of a BERT of 2 layers and 32 dimensions."""
    from transformers import BertConfig, BertModel

    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [text for rows in json.loads(SENTENCES.read_text()).values() for text, _ in rows]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=800, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
    folder.mkdir(parents=True)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def load_text_task(encoder: Path) -> Task:
    return TASKS["intents"](path=str(SENTENCES), max_tokens=LONGEST, pretrained=str(encoder))
