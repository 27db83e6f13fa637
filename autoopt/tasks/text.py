"""Tasks of text: sentences and their classes, from files; the teacher is a Hugging Face encoder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch

from autoopt.core.errors import ConfigError
from autoopt.core.inputs import Inputs
from autoopt.core.signature import Tokens
from autoopt.tasks.encoder import build_encoder, embedding_table, encoder_folder
from autoopt.tasks.task import Split, Task, labels_file
from autoopt.tasks.transfer import Maker, similar_tokens

STUDENTS = ("bag", "text_cnn", "bigru", "bilstm")
INPUT = "input_ids"


@dataclass(frozen=True)
class Sentences:
    texts: Sequence[str]
    labels: Sequence[str]
    slices: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """The encoder's own (tokenizer.json), cutting at `longest` tokens."""

    path: Path
    longest: int

    @cached_property
    def _tokenizer(self) -> Any:
        import tokenizers

        try:
            found = tokenizers.Tokenizer.from_file(str(self.path))
        except Exception as error:  # its own exceptions have no common base
            raise ConfigError(f"teacher.model: {self.path} is no tokenizer that can be read: {error}") from error
        found.enable_truncation(self.longest)
        found.no_padding()
        return found

    def tokens(self, used: tuple[int, ...]) -> Tokens:
        unknown = self._id("unknown", "[UNK]", "<unk>")
        kept = tuple(sorted({*used, self.pad, unknown}))
        return Tokens(self._tokenizer.get_vocab_size(), self.pad, kept)

    @cached_property
    def pad(self) -> int:
        return self._id("padding", "[PAD]", "<pad>")

    def _id(self, what: str, *names: str) -> int:
        found = next((i for name in names if (i := self._tokenizer.token_to_id(name)) is not None), None)
        if found is None:
            raise ConfigError(f"{self.path} has no {what} token ({' or '.join(names)}): use another teacher.model")
        return int(found)

    @property
    def content(self) -> bytes:
        """tokenizer.json as it is used here: cutting at `longest`, without padding."""
        text: str = self._tokenizer.to_str()
        return text.encode()

    def encode(self, texts: Sequence[str]) -> list[Any]:
        return list(self._tokenizer.encode_batch(list(texts)))

    def inputs(self, ids: Sequence[Sequence[int]]) -> Inputs:
        """Padded at the end."""
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.full((len(ids), max(1, int(lengths.max()))), self.pad, dtype=torch.int64)
        for row, sentence in zip(padded, ids, strict=True):
            row[: len(sentence)] = torch.tensor(sentence)
        return Inputs({INPUT: padded}, lengths, (INPUT,))


def text_task(name: str, parts: Sequence[Sentences], *, pretrained: str | None, max_tokens: int, source: str) -> Task:
    """`parts`: train, validation, test. Raises ConfigError where a part is empty or has classes that train lacks."""
    names = sorted(set(parts[0].labels))
    for part, kind in zip(parts, ("train", "validation", "test"), strict=True):
        _check(part, kind, names)
    folder = encoder_folder(pretrained)
    _check_longest(max_tokens, folder)
    tokenizer = Tokenizer(folder / "tokenizer.json", max_tokens)
    encoded = [tokenizer.encode(part.texts) for part in parts]
    places = {label: place for place, label in enumerate(names)}
    splits = [
        Split(
            tokenizer.inputs([e.ids for e in found]),
            torch.tensor([places[label] for label in part.labels]),
            tuple(part.slices),
        )
        for found, part in zip(encoded, parts, strict=True)
    ]
    used = tuple(sorted({token for found in encoded[0] for token in found.ids}))
    return Task(
        name=name,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        classes=len(names),
        build_teacher=lambda: build_encoder(folder, tokenizer.pad, len(names)),
        students=STUDENTS,
        input_meaning=f"int64 (batch, length): ids of tokenizer.json, at most {max_tokens}; {tokenizer.pad} is padding",
        data_source=source,
        tokens=tokenizer.tokens(used),
        texts=tuple(parts[1].texts),
        files={"tokenizer.json": tokenizer.content, **labels_file(names)},
        transfer=_transfer(tokenizer, encoded[0], folder),
    )


def _transfer(tokenizer: Tokenizer, train: Sequence[Any], folder: Path) -> Callable[[int], Inputs]:
    """Special tokens stay where they were, before and after the words."""
    words = [_words(encoding) for encoding in train]
    before, after = next((_around(encoding) for encoding in train if _words(encoding)), ([], []))

    @cache
    def maker() -> Maker:
        table = embedding_table(folder)
        plain = sorted({token for sentence in words for word in sentence for token in word if len(word) == 1})
        return Maker(words, similar_tokens(table, plain), tokenizer.longest - len(before) - len(after))

    return lambda number: tokenizer.inputs([[*before, *sentence, *after] for sentence in maker().part(number)])


def _around(encoding: Any) -> tuple[list[int], list[int]]:
    """The special tokens before the first word and after the last."""
    places = [place for place, word in enumerate(encoding.word_ids) if word is not None]
    return encoding.ids[: places[0]], encoding.ids[places[-1] + 1 :]


def _words(encoding: Any) -> list[list[int]]:
    """Token ids by word, without special tokens."""
    found: dict[int, list[int]] = {}
    for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
        if word is not None:
            found.setdefault(word, []).append(token)
    return list(found.values())


def _check_longest(max_tokens: Any, folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        raise ConfigError(f"teacher.model={folder} has no config.json: a folder as transformers saves one is needed")
    try:
        most = json.loads(config.read_text()).get("max_position_embeddings", 10_000)
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"teacher.model={folder}: its config.json cannot be read ({error}): save it again") from error
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 3 <= max_tokens <= most:
        raise ConfigError(f"task.max_tokens={max_tokens}: a whole number from 3 to {most}, the encoder's own limit")


def _check(part: Sentences, kind: str, names: Sequence[str]) -> None:
    if not part.texts:
        raise ConfigError(f"the {kind} split has no sentences")
    if len(names) < 2:
        raise ConfigError(f"the train split has {len(names)} class: two or more are needed")
    strange = sorted(set(part.labels) - set(names))
    if strange:
        raise ConfigError(f"the {kind} split has classes that train lacks: {', '.join(strange[:5])}")
