"""task=text_classification: sentences and classes out of tables: CSV, JSON lines, Parquet."""

from pathlib import Path

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion
from autoopt.tasks.task import Task
from autoopt.tasks.text import Sentences, text_task

SHARE, SEED = 0.1, 0  # of train, for validation where there is no file for it
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def text_classification(
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    text: str = "text",
    label: str = "label",
    max_tokens: int = 64,
    encoder: str | None = None,
) -> Task:
    """`text` and `label` are names of columns. Without `validation` a tenth of train serves, stratified by class."""
    found = {name: _read(name, path, text, label) for name, path in (("train", train), ("test", test))}
    if validation is None:
        found["train"], found["validation"] = _divided(found["train"])
    else:
        found["validation"] = _read("validation", validation, text, label)
    return text_task(
        "text_classification",
        [found[name] for name in ("train", "validation", "test")],
        encoder=encoder,
        max_tokens=max_tokens,
        source=f"{train}, {validation or 'a tenth of it'}, {test}",
    )


def _read(name: str, path: str | None, text: str, label: str) -> Sentences:
    import pandas as pd  # a second to import

    if path is None or not Path(path).is_file():
        raise ConfigError(f"task.{name}={path}: there is no such file: type task.{name}=FILE ({', '.join(ENDINGS)})")
    readers = {
        ".csv": pd.read_csv,
        ".tsv": lambda file: pd.read_csv(file, sep="\t"),
        ".jsonl": lambda file: pd.read_json(file, lines=True),
        ".parquet": pd.read_parquet,
    }
    ending = Path(path).suffix.lower()
    if ending not in readers:
        raise ConfigError(f"task.{name}={path}: {', '.join(ENDINGS)} can be read")
    try:
        table = readers[ending](path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"task.{name}={path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    for key, column in (("text", text), ("label", label)):
        if column not in table.columns:
            known = [str(known) for known in table.columns]
            raise ConfigError(f"task.{key}={column}: {path} has no such column. {suggestion(column, known)}")
    whole = table[[text, label]].dropna()
    if len(whole) < len(table):
        raise ConfigError(f"task.{name}={path}: {len(table) - len(whole)} of {len(table)} rows lack {text} or {label}")
    return Sentences(whole[text].astype(str).tolist(), whole[label].astype(str).tolist())


def _divided(train: Sentences) -> tuple[Sentences, Sentences]:
    from sklearn.model_selection import train_test_split

    try:
        rest, share = train_test_split(
            range(len(train.texts)), test_size=SHARE, random_state=SEED, stratify=list(train.labels)
        )
    except ValueError as error:
        raise ConfigError(
            f"task.validation=null: no stratified tenth of train can be taken ({error}): type task.validation=FILE"
        ) from error
    kept, held = (Sentences([train.texts[i] for i in rows], [train.labels[i] for i in rows]) for rows in (rest, share))
    return kept, held
