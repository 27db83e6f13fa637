"""task=text_classification: sentences and classes out of tables: CSV, JSON lines, Parquet."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.lookup import suggestion
from autoopt.tasks.held_out import hold_out
from autoopt.tasks.task import Task
from autoopt.tasks.text import Sentences, text_task

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def text_classification(
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    text: str = "text",
    label: str = "label",
    slice: str | None = None,
    max_tokens: int = 64,
    pretrained: str | None = None,
) -> Task:
    """`text`, `label` and `slice`, which may be left out, are names of columns. Without `validation` a tenth of train
    serves, stratified by class.
    """
    found = {name: _read(name, path, text, label, slice) for name, path in (("train", train), ("test", test))}
    if validation is None:
        whole = found["train"]
        kept, held = hold_out(whole.labels, whole.texts, "type task.validation=FILE")
        found |= {"train": _at(whole, kept), "validation": _at(whole, held)}
    else:
        found["validation"] = _read("validation", validation, text, label, slice)
    return text_task(
        "text_classification",
        [found[name] for name in ("train", "validation", "test")],
        pretrained=pretrained,
        max_tokens=max_tokens,
        source=f"{train}, {validation or 'a tenth of it'}, {test}",
    )


def _read(name: str, path: str | None, text: str, label: str, slice: str | None) -> Sentences:
    import pandas as pd  # a second to import

    if path is None or not Path(path).is_file():
        raise ConfigError(f"task.{name}={path}: there is no such file: type task.{name}=FILE ({', '.join(ENDINGS)})")
    # As it is written: a class may be called None or 01.
    as_text: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
    readers: dict[str, Callable[[str], Any]] = {
        ".csv": partial(pd.read_csv, **as_text),
        ".tsv": partial(pd.read_csv, sep="\t", **as_text),
        ".jsonl": partial(pd.read_json, lines=True, dtype=False),
        ".parquet": pd.read_parquet,
    }
    ending = Path(path).suffix.lower()
    if ending not in readers:
        raise ConfigError(f"task.{name}={path}: {', '.join(ENDINGS)} can be read")
    try:
        table = readers[ending](path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"task.{name}={path} cannot be read: {one_line(error, 200)}") from error
    if table.empty:
        raise ConfigError(f"task.{name}={path} has no rows: a table with the columns {text} and {label} is needed")
    if text == label:
        raise ConfigError(f"task.text={text} is task.label, too: type task.text=COLUMN and task.label=ANOTHER")
    columns = {"text": text, "label": label} | ({"slice": slice} if slice is not None else {})
    for key, column in columns.items():
        if column not in table.columns:
            known = [str(known) for known in table.columns]
            raise ConfigError(f"task.{key}={column}: {path} has no such column. {suggestion(column, known)}")
    whole = table[[text, label]].dropna()
    if len(whole) < len(table):
        raise ConfigError(f"task.{name}={path}: {len(table) - len(whole)} of {len(table)} rows lack {text} or {label}")
    slices = () if slice is None else table[slice].fillna("(none)").astype(str).tolist()
    return Sentences(whole[text].astype(str).tolist(), whole[label].astype(str).tolist(), slices)


def _at(sentences: Sentences, rows: np.ndarray) -> Sentences:
    found = ([part[i] for i in rows] if part else [] for part in (sentences.texts, sentences.labels, sentences.slices))
    return Sentences(*found)
