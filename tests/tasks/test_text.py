"""Tasks of text: files, tokens, the transfer set."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from autoopt.core.errors import ConfigError
from autoopt.tasks import TASKS, Split, Task
from autoopt.tasks.checks import check_task
from autoopt.tasks.transfer import Maker, similar_tokens
from tests.texts import LONGEST, SENTENCES, load_text_task


def words_of(task: Task) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(task.files["tokenizer.json"].decode())


def test_ids_are_those_of_the_tokenizer_that_the_artifact_gets(sentences: Task) -> None:
    raw = json.loads(SENTENCES.read_text())
    tokenizer, ids = words_of(sentences), sentences.train.inputs.arrays["input_ids"]
    assert sentences.tokens is not None
    for place in (0, 7, 100):
        expected = tokenizer.encode(raw["train"][place][0]).ids
        row = ids[place].tolist()
        assert row[: len(expected)] == expected
        assert set(row[len(expected) :]) <= {sentences.tokens.pad}
    names = json.loads(sentences.files["labels.json"])
    assert names == sorted({label for _, label in raw["train"]})
    assert [names[target] for target in sentences.train.targets[:5]] == [label for _, label in raw["train"][:5]]


def test_the_tokenizer_of_the_artifact_cuts_and_pads_as_was_measured(encoder: Path, tmp_path: Path) -> None:
    """Encoders ship theirs with settings of their own, such as padding everything to 128 tokens."""
    shutil.copytree(encoder, tmp_path / "encoder")
    shipped = tokenizers.Tokenizer.from_file(str(encoder / "tokenizer.json"))
    shipped.enable_padding(length=128)
    shipped.enable_truncation(100)
    shipped.save(str(tmp_path / "encoder" / "tokenizer.json"))
    tokenizer = words_of(load_text_task(tmp_path / "encoder"))
    assert len(tokenizer.encode("transfer money").ids) < 10
    assert len(tokenizer.encode("transfer money " * 50).ids) == LONGEST


def test_the_same_sentence_in_two_splits_is_seen_whatever_the_padding(sentences: Task) -> None:
    short = sentences.train.inputs.lengths.argsort()[:40]
    leaked = replace(sentences, test=Split(sentences.train.inputs[short], sentences.train.targets[short]))
    assert leaked.test.inputs.arrays["input_ids"].shape[1] < leaked.train.inputs.arrays["input_ids"].shape[1]
    with pytest.raises(ConfigError, match="40 of 40 rows of the test split are in the train split, too"):
        check_task(leaked)


@pytest.mark.parametrize("longest", [2, 0, True, "many", LONGEST + 1])
def test_a_length_that_the_encoder_does_not_take_is_refused(longest: object, encoder: Path) -> None:
    with pytest.raises(ConfigError, match=f"task.max_tokens={longest}: a whole number from 3 to {LONGEST}"):
        TASKS["intents"](path=str(SENTENCES), max_tokens=longest, pretrained=str(encoder))


def test_a_tokenizer_without_special_tokens_makes_sentences_of_words_alone(encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder, tmp_path / "encoder")
    raw = json.loads((encoder / "tokenizer.json").read_text())
    (tmp_path / "encoder" / "tokenizer.json").write_text(json.dumps({**raw, "post_processor": None}))
    task = load_text_task(tmp_path / "encoder")
    assert task.transfer is not None
    firsts = task.transfer(0).arrays["input_ids"][:, 0]
    assert len(firsts.unique()) > 10


def test_an_encoder_whose_masks_are_others_is_refused(encoder: Path, tmp_path: Path) -> None:
    from transformers import DebertaV2Config, DebertaV2Model

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    DebertaV2Model(DebertaV2Config(vocab_size=2000, **sizes)).save_pretrained(tmp_path)
    shutil.copy(encoder / "tokenizer.json", tmp_path)
    with pytest.raises(ConfigError, match="is a DeBERTa, which is not supported"):
        TASKS["intents"](path=str(SENTENCES), max_tokens=LONGEST, pretrained=str(tmp_path)).build_teacher()


def test_the_used_tokens_are_those_of_the_train_split(sentences: Task) -> None:
    assert sentences.tokens is not None
    ids = set(sentences.train.inputs.arrays["input_ids"].unique().tolist())
    assert set(sentences.tokens.used) == ids | {words_of(sentences).token_to_id("[UNK]")}
    assert len(sentences.tokens.used) < sentences.tokens.vocabulary


def test_the_transfer_set_is_new_of_the_same_words_and_never_the_same_twice(sentences: Task) -> None:
    assert sentences.transfer is not None
    assert sentences.tokens is not None
    parts = [sentences.transfer(number).arrays["input_ids"] for number in (0, 1, 0)]
    train = {tuple(row) for row in sentences.train.inputs.arrays["input_ids"].tolist()}
    for part in parts:
        assert len(part) == len(sentences.train)
        assert part.shape[1] <= LONGEST
        assert set(part.unique().tolist()) <= set(sentences.tokens.used)
        assert set(part[:, 0].tolist()) == {2}, "the first token of every sentence"
    width = train and sentences.train.inputs.arrays["input_ids"].shape[1]
    padded = torch.nn.functional.pad(parts[0], (0, width - parts[0].shape[1]))
    assert sum(tuple(row) in train for row in padded.tolist()) < 0.2 * len(train)
    assert torch.equal(parts[0], parts[2])
    assert parts[0].shape != parts[1].shape or not torch.equal(parts[0], parts[1])


def test_similar_tokens_are_the_nearest_by_cosine() -> None:
    table = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 2.0]], np.float32)
    assert similar_tokens(table, [0, 1, 2, 3])[0][0] == 1
    assert similar_tokens(table, [0, 2, 3])[2][0] == 3


def test_a_new_sentence_is_never_empty() -> None:
    maker = Maker([[[5]], [[6], [7, 8]]], {5: [9]}, longest=2)
    new = [sentence for number in range(200) for sentence in maker.part(number)]
    assert {len(sentence) for sentence in new} <= {1, 2}
    assert {token for sentence in new for token in sentence} == {5, 6, 7, 8, 9}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "has not the format"),
        ('{"train": []}', "has not the format"),
        ('{"train": [["a", "x"]], "val": [["b", "x"]], "test": []}', "1 class: two or more"),
        ('{"train": [["a", "x"], ["b", "y"]], "val": [], "test": []}', "the validation split has no sentences"),
        (
            '{"train": [["a", "x"], ["b", "y"]], "val": [["c", "z"]], "test": [["d", "x"]]}',
            "the validation split has classes that train lacks: z",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        TASKS["intents"](path=str(path))


def test_a_path_that_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no data_full.json: give the file, or the folder"):
        TASKS["intents"](path=str(tmp_path))


def test_without_file_and_network_both_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(ConfigError, match=r"type task.path=FILE with a copy of https://.*, or connect to a network"):
        TASKS["intents"]()


def test_a_folder_without_an_encoder_says_so(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="teacher.model"):
        TASKS["intents"](path=str(SENTENCES), pretrained=str(tmp_path))


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """The small set as tables of every kind."""
    import pandas as pd

    raw = json.loads(SENTENCES.read_text())
    frames = {name: pd.DataFrame(raw[key], columns=["utterance", "intent"]) for name, key in NAMES.items()}
    frames["train"].to_csv(tmp_path / "train.csv", index=False)
    frames["validation"].to_json(tmp_path / "validation.jsonl", orient="records", lines=True)
    frames["test"].to_parquet(tmp_path / "test.parquet")
    return {path.stem: path for path in tmp_path.iterdir()}


NAMES = {"train": "train", "validation": "val", "test": "test"}


def load_tables(tables: dict[str, Path], encoder: Path, **changes: object) -> Task:
    paths = {name: str(path) for name, path in tables.items()}
    options = {
        **paths,
        "text": "utterance",
        "label": "intent",
        "max_tokens": LONGEST,
        "pretrained": str(encoder),
        **changes,
    }
    return TASKS["text_classification"](**options)


def test_tables_of_every_kind_give_the_same_task(tables: dict[str, Path], encoder: Path, sentences: Task) -> None:
    task = load_tables(tables, encoder)
    assert task.fingerprint == sentences.fingerprint
    assert task.files["labels.json"] == sentences.files["labels.json"]


def test_a_column_slices_the_rows(tables: dict[str, Path], encoder: Path) -> None:
    import pandas as pd

    for name, path in tables.items():
        read = {"train": pd.read_csv, "validation": partial(pd.read_json, lines=True), "test": pd.read_parquet}[name]
        table = read(path)
        table["channel"] = ["mail" if i % 3 else None for i in range(len(table))]
        table.to_csv(path.with_suffix(".csv"), index=False)
    files = {name: str(path.with_suffix(".csv")) for name, path in tables.items()}
    task, plain = (load_tables(tables, encoder, **files, slice=slice) for slice in ("channel", None))
    assert task.test.slices[:4] == ("(none)", "mail", "mail", "(none)")
    assert len(task.validation.slices) == len(task.validation)
    assert plain.test.slices == ()
    assert task.fingerprint != plain.fingerprint
    held = load_tables(tables, encoder, **{**files, "validation": None}, slice="channel")
    assert len(held.validation.slices) == len(held.validation)


def test_without_a_validation_file_a_stratified_tenth_of_train_serves(tables: dict[str, Path], encoder: Path) -> None:
    task, again = (load_tables(tables, encoder, validation=None) for _ in range(2))
    assert (len(task.train), len(task.validation)) == (288, 32)
    assert task.validation.targets.bincount().tolist() == [4] * 8
    assert task.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "nowhere.csv"}, "task.train=nowhere.csv: there is no such file"),
        ({"test": None}, "task.test=None: there is no such file: type task.test=FILE"),
        ({"slice": "chanel"}, "task.slice=chanel: .* has no such column"),
        ({"text": "uterance"}, "task.text=uterance: .* has no such column. Did you mean 'utterance'"),
    ],
)
def test_a_bad_table_is_named(changes: dict, message: str, tables: dict[str, Path], encoder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_tables(tables, encoder, **changes)


def test_classes_are_read_as_they_are_written(tables: dict[str, Path], encoder: Path) -> None:
    written = tables["train"].read_text().replace(",weather\n", ",None\n").replace(",timer\n", ",01\n")
    tables["train"].write_text(written)
    task = load_tables(dict.fromkeys(tables, tables["train"]), encoder)
    assert {"None", "01"} <= set(json.loads(task.files["labels.json"]))


def test_a_sentence_that_stands_twice_is_held_out_twice_or_not_at_all(tables: dict[str, Path], encoder: Path) -> None:
    head, *rows = tables["train"].read_text().splitlines()
    tables["train"].write_text("\n".join([head, *rows, *rows]) + "\n")
    task = load_tables(tables, encoder, validation=None)
    assert (len(task.train), len(task.validation)) == (576, 64)
    check_task(task)


def test_rows_that_lack_something_are_counted(tables: dict[str, Path], encoder: Path) -> None:
    tables["train"].write_text(tables["train"].read_text() + '"a sentence without intent",\n')
    with pytest.raises(ConfigError, match="1 of 321 rows lack utterance or intent"):
        load_tables(tables, encoder)


def test_a_file_of_another_kind_says_what_can_be_read(tables: dict[str, Path], encoder: Path) -> None:
    other = tables["train"].rename(tables["train"].with_suffix(".xlsx"))
    with pytest.raises(ConfigError, match=r"\.csv, \.tsv, \.jsonl, \.parquet can be read"):
        load_tables(tables, encoder, train=str(other))
