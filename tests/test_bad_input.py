"""A table of what people type and hand over by mistake: each gives one line, exit code 2, and leaves nothing behind."""

import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save_file

from autoopt.cli import main
from autoopt.tasks import TASKS

LIMIT_S = 5.0

Words = list[str]
Make = Callable[[Path], Words]
"""Writes what is wrong into the folder that it is given, and says what is typed."""


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Imports are paid once a process: each row is timed without them."""
    import pandas  # noqa: F401
    import sklearn.datasets
    import sklearn.model_selection  # noqa: F401
    import transformers  # noqa: F401

    import autoopt.commands.report
    import autoopt.commands.search  # noqa: F401


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below the folder, and what is in it."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- what a task reads ------------------------------------------------------------------------------------------------


def table(path: Path, rows: int = 40, label: str = "label", classes: int = 2, first: int = 0) -> Path:
    """Sentences, no two of them equal."""
    lines = [f"sentence number {first + i},class{i % classes}" for i in range(rows)]
    return put(path, "\n".join([f"text,{label}", *lines]) + "\n")


def tables(folder: Path, *more: str, **files: object) -> Words:
    """Of task=text_classification; what is not given is right."""
    for i, name in enumerate(("train", "validation", "test")):
        if name not in files:
            files[name] = table(folder / f"{name}.csv", first=1000 * i)
    return ["task=text_classification", *(f"task.{name}={path}" for name, path in files.items()), *more]


def pictures(folder: Path, classes: str = "ab") -> Words:
    """Of task=image_folder, all right."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for i in range(12):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return ["task=image_folder", f"task.path={folder}"]


def spoiled_pictures(spoil: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Words:
        words = pictures(folder)
        spoil(folder)
        return words

    return make


def model(path: Path, scale: float = 1.0) -> Path:
    """Two features to two classes: the sign of the first one decides."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [-scale, scale, 0.0, 0.0])
    sides = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "XY")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["Y"])], "g", *([s] for s in sides), initializer=[weight]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def arrays(seed: int = 0, **changes: np.ndarray) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(60, 2)).astype(np.float32)
    return {"X": x, "targets": (x[:, 0] > 0).astype(np.int64), **changes}


def given(folder: Path, *more: str, **changes: object) -> Words:
    """Of task=onnx; what is not given is right. A dict becomes an .npz file."""
    files: dict[str, object] = {"model": model(folder / "right.onnx")}
    files |= {name: arrays(i) for i, name in enumerate(("calibration", "validation", "test"))} | changes
    words = ["task=onnx", *more]
    for name, value in files.items():
        if isinstance(value, dict):
            np.savez(folder / f"{name}.npz", **value)
        words.append(f"task.{name}={folder / f'{name}.npz' if isinstance(value, dict) else value}")
    return words


def npz(cut: Callable[[bytes], bytes]) -> Make:
    """A right file of arrays, spoiled."""

    def make(folder: Path) -> Words:
        np.savez(folder / "whole.npz", **arrays(1))
        return given(folder, validation=put(folder / "spoiled.npz", cut((folder / "whole.npz").read_bytes())))

    return make


def onnx_file(cut: Callable[[bytes], bytes]) -> Make:
    return lambda folder: given(folder, model=put(folder / "m.onnx", cut(model(folder / "w.onnx").read_bytes())))


def weights(spoil: Callable[[dict[str, torch.Tensor]], object] = lambda state: None) -> Make:
    """A checkpoint of the digits' teacher with fresh weights, spoiled in place."""

    def make(folder: Path) -> Words:
        state = {name: value.clone() for name, value in TASKS["digits"]().build_teacher().state_dict().items()}
        spoil(state)
        save_file(state, folder / "c.safetensors")
        return ["task=digits", f"teacher.checkpoint={folder / 'c.safetensors'}"]

    return make


def checkpoint(content: Callable[[Path], bytes]) -> Make:
    return lambda folder: ["task=digits", f"teacher.checkpoint={put(folder / 'c.safetensors', content(folder))}"]


def pickled(folder: Path) -> bytes:
    torch.save({"a": torch.zeros(1)}, folder / "weights.pt")
    return (folder / "weights.pt").read_bytes()


def cut_short(folder: Path) -> bytes:
    weights()(folder)
    return (folder / "c.safetensors").read_bytes()[:-100]


def module(source: bytes | str, *more: str) -> Make:
    """task=custom with such a module."""

    def make(folder: Path) -> Words:
        put(folder / "made_up.py", source)
        return ["task=custom", "task.factory=made_up:build", *more]

    return make


MODULE = """
import autoopt, torch
from torch import nn

def part(seed):
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] > 0).long()

def right(scale=1.0):
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(scale * torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    return model

def task(**changes):
    return autoopt.Task(**{"model": right(), "train": part(0), "validation": part(1), "test": part(2), **changes})

def spoiled(seed, x=lambda x: x, y=lambda y: y):
    a, b = part(seed)
    return x(a), y(b)

def raises(*_):
    raise ValueError("two\\nlines")

class Says(nn.Module):
    def forward(self, x):
        return "yes"

class Rows:
    def __len__(self):
        return 5
    def __getitem__(self, i):
        raise OSError("the disk is gone")

def build():
    return """


def custom(expression: str, *more: str) -> Make:
    """task=custom whose build() returns such an expression."""
    return module(f"{MODULE}{expression}\n", *more)


OWN_METRIC = ("~kpis.accuracy", "kpis.quality.objective=true", "kpis.quality.max_drop=0.02")


def a_file(folder: Path) -> Words:
    return ["task=digits", f"outputs={put(folder / 'o', 'x')}"]


def no_folder(folder: Path) -> Words:
    return ["task=digits", f"outputs={put(folder / 'o', 'x') / 'deep'}"]


def a_study_that_is_a_file(folder: Path) -> Words:
    put(folder / "outputs" / "mine", "x")
    return ["task=digits", "study=mine"]


def encoder(**files: str) -> Make:
    """A folder as teacher.model that lacks something."""

    def make(folder: Path) -> Words:
        (folder / "encoder").mkdir()
        for name, content in files.items():
            put(folder / "encoder" / f"{name}.json", content)
        return tables(folder, f"teacher.model={folder / 'encoder'}")

    return make


# --- the table --------------------------------------------------------------------------------------------------------

ROWS: dict[str, tuple[Words | Make, str]] = {
    # verbs and options
    "verb": (["serch"], "unknown verb 'serch'. Did you mean 'search'? Known: compare, doctor, promote, report"),
    "a task as the verb": (["digits"], "unknown verb 'digits'. Known: compare, doctor, promote, report"),
    "two verbs": (["search", "report"], "cannot read 'report': type KEY=VALUE"),
    "option": (["--verbose"], "unknown option '--verbose'. Did you mean '--version'? Known: --cfg"),
    "short option": (["-x"], "unknown option '-x'. Known: --cfg"),
    "key with dashes": (["--study=x"], "--study=x: a key is typed without dashes: study=x"),
    "report of nothing": (["report", "study=nothing"], "no study 'nothing' in"),
    "promote of nothing": (["promote", "study=nothing"], "no study 'nothing' in"),
    "promote by force, no reason": (["promote", "--force"], "--force needs a reason, which is recorded: type --force="),
    "promote by force, empty": (["promote", "--force= "], "--force needs a reason, which is recorded: type --force="),
    "report by force": (["report", "--force=why"], "--force belongs to promote, not to report"),
    "rollback of nothing": (["rollback", "task=digits"], "mlflow.db is not there: type outputs=DIR or tracking.uri="),
    "rollback of what": (["rollback"], "rollback of which task? Type task=NAME, or registry.model=NAME"),
    "rollback of an option": (["rollback", "task.path=x"], "rollback of which task?"),
    "reproduce of nothing": (["reproduce", "study=nothing", "trial=1"], "no study 'nothing' in"),
    "reproduce without a trial": (["reproduce", "study=nothing"], "which trial? type trial=N"),
    "trial of a search": (["trial=3"], "trial=3 belongs to promote and reproduce, not to search: leave it out"),
    "trial below zero": (["promote", "trial=-1"], "trial=-1: a whole number"),
    "trial is a word": (["promote", "trial=best"], "trial='best': a whole number"),
    "registered name": (["promote", "registry.model=a/b"], "registry.model='a/b': letters, digits, '.', '_' and '-'"),
    "registry's key": (["promote", "registry.name=a"], "unknown key 'registry.name'"),
    "registry is a name": (
        ["promote", "registry=digits"],
        "registry='digits': leave it out, or type registry.KEY=VALUE with model",
    ),
    "report of a wrong key": (["report", "stuy=x"], "unknown key 'stuy'. Did you mean 'study'?"),
    "report of a key of the search": (
        ["report", "study=x", "workers=2"],
        "report, which reads a study as it was searched: unknown key 'workers'. Known: outputs, seed, storage, study",
    ),
    "sync of a key of the search": (
        ["sync", "budget.trials=3"],
        "unknown key 'budget.trials'. Known: outputs, seed, st",
    ),
    "compare of nothing": (["compare"], "no study: compare needs two different studies or more"),
    "compare of one": (
        ["compare", "study=a"],
        "study=a: compare needs two different studies or more: type autoopt comp",
    ),
    "compare of twins": (["compare", "study=[a,a]"], "study=[a,a]: compare needs two different studies or more"),
    "compare of a bad name": (["compare", "study=a,b/c"], "study='b/c': letters, digits, '.', '_' and '-'"),
    "compare of what is not there": (["compare", "study=a,b"], "no study 'a' in"),
    "doctor of a wrong task": (["doctor", "task=digit"], "unknown task 'digit'. Did you mean 'digits'?"),
    # how keys are typed
    "bracket": (["space.optimizer=[sgd"], "cannot read 'space.optimizer=[sgd': type KEY=VALUE"),
    "brace": (["space.temperature={low: 1"], "cannot read 'space.temperature={low: 1': type KEY=VALUE"),
    "quote": (["study='abc"], 'cannot read "study=\'abc": type KEY=VALUE'),
    "space before =": (["budget.trials =3"], "type KEY=VALUE without spaces around '='"),
    "spaces around =": (["budget.trials", "=", "3"], "a '=' stands alone: type KEY=VALUE without spaces"),
    "no key": (["=3"], "cannot read '=3': type KEY=VALUE"),
    "newline": (["colour=a\nb"], "cannot read 'colour=a\\nb': type KEY=VALUE"),
    "several studies": (
        ["report", "study=a,b"],
        "study=a,b: one study at a time; side by side: autoopt compare study=a,b",
    ),
    "several values": (["budget.trials=3,4"], "budget.trials=3,4: a study has one value of each key: type 'budget.tri"),
    "interpolation": (["study=${nothing}"], "Interpolation key 'nothing' not found"),
    "option of a group": (["tracking=wandb"], "unknown tracking 'wandb'. Known: mlflow, none"),
    "group that is null": (["task=null"], "task=null: type task=NAME with one of custom, digits, fashion"),
    "group that is removed": (["~budget"], "~budget: type budget=NAME with one of custom"),
    "new key in a section": (["+budget.trails=3"], "unknown key 'budget.trails'. Did you mean 'trials'?"),
    "~ of what is absent": (["~kpis.speed"], "unknown key 'kpis.speed'. Known: accuracy, latency_p95_ms, size_mb"),
    "section": (["kpi.accuracy.min=0.9"], "unknown key 'kpi.accuracy.min'. Did you mean 'kpis'?"),
    "key of Hydra's": (["hydra.run.dir=x"], "cannot read 'hydra.run.dir=x': type KEY=VALUE"),
    # task
    "task": (["task=fashoin"], "unknown task 'fashoin'. Did you mean 'fashion'? Known: custom, digits"),
    "task's key": (["task.sise=3"], "unknown key 'task.sise'. Known: name"),
    "another task's key": (["task=digits", "+task.size=3"], "task digits has no option 'size'. It has none."),
    "task of another's teacher": (
        ["task.name=digits"],
        "type teacher.checkpoint=FILE.safetensors, or teacher.epochs=N",
    ),
    "path that is a list": (["task=intents", "task.path=[a,b]"], "task.path=['a', 'b']: text is allowed, or null"),
    # teacher
    "checkpoint that is a folder": (["teacher.checkpoint=/"], "teacher.checkpoint=/ is a folder: give a .safetensors"),
    "no way to a teacher": (["task=digits", "teacher.epochs=0"], "or teacher.epochs=N"),
    "teacher's rate is nan": (["task=digits", "teacher.learning_rate=nan"], "a finite number > 0 is allowed"),
    "teacher's rate is null": (["task=digits", "teacher.learning_rate=null"], "a finite number > 0 is allowed"),
    "teacher's optimizer": (["task=digits", "teacher.optimizer=adamm"], "'adamm'. Did you mean 'adam'? Known"),
    "teacher's smoothing": (["task=intents", "teacher.label_smoothing=null"], "a finite number >= 0 is allowed"),
    "teacher's model": (["task=intents", "teacher.model=5"], "teacher.model=5: a folder, or a name on the Hugging"),
    "model of no use": (["task=digits", "+teacher.model=bert"], "task digits has its own: leave it out"),
    # space
    "optimizer": (["space.optimizer=[sgd,adamm]"], "unknown optimizer in space.optimizer 'adamm'. Did you mean 'adam'"),
    "empty range": (["space.temperature={low: 4, high: 1}"], "low=4 is above high=1: swap them"),
    "rate is inf": (["space.learning_rate=inf"], "space.learning_rate=inf is not allowed: in (0, 1000]"),
    "epochs are text": (["space.epochs=many"], "space.epochs='many' is not allowed: a whole number from 1 to 1000000"),
    "epochs are huge": (["space.epochs=1e30"], "space.epochs=1e+30 is not allowed: a whole number from 1 to 1000000"),
    "student of text": (["task=digits", "space.student=bag"], "space.pruning has no values for student 'bag': add spa"),
    "augmented images": (["task=digits", "space.augment=2"], "task digits has no transfer set: type space.augment=0"),
    "layers of images": (["task=digits", "space.layers=[1,2]"], "space.layers: the teacher has no list of layers"),
    "vocabulary of images": (
        ["task=digits", "space.vocabulary=cut"],
        "space.vocabulary and space.embedding_rank are for tasks of te",
    ),
    "nothing to quantize": (
        ["task=digits", "space.student=cnn", "space.quantization=weight_only_int4"],
        "changes nothing in student",
    ),
    # kpis
    "KPI": (["kpis.acuracy.min=0.9"], "unknown KPI 'acuracy'. Did you mean 'accuracy'?"),
    "drop in points": (["kpis.accuracy.max_drop=1.5"], "a share lies in [0, 1]: write 0.02 for 2 points"),
    "accuracy in per cent": (["kpis.accuracy.min=92"], "a share lies in [0, 1]: write 0.9 for 90%"),
    "drop is nan": (["kpis.accuracy.max_drop=nan"], "kpis.accuracy.max_drop=nan: a number >= 0 is allowed"),
    "latency with a unit": (["kpis.latency_p95_ms.max=5ms"], "kpis.latency_p95_ms.max='5ms': a number > 0 is allowed"),
    "latency below 0": (["kpis.latency_p95_ms.max=-1"], "kpis.latency_p95_ms.max=-1: a number > 0 is allowed"),
    "size of 0": (["kpis.size_mb.max=0"], "kpis.size_mb.max=0: a number > 0 is allowed"),
    "throughput below 0": (["kpis.throughput_qps.min=-5"], "kpis.throughput_qps.min=-5: a number >= 0 is allowed"),
    "bounds that contradict": (
        ["kpis.size_mb.min=5", "kpis.size_mb.max=2"],
        "min=5 is above max=2: nothing can meet bo",
    ),
    "ratios that contradict": (["kpis.latency_p95_ms.min_ratio=2"], "min_ratio=2 is above max_ratio=0.5"),
    "KPI is a list": (["kpis.accuracy=[1]"], "kpis.accuracy=[1] does not fit there: type kpis.accuracy.KEY=VALUE"),
    "another metric": (
        ["task=digits", "kpis.r2.objective=true"],
        "the metric of task digits is accuracy: type '~kpis.r2' kpis.accu",
    ),
    "slices": (
        ["task=digits", "kpis.worst_slice.min=0.8"],
        "no slice of 20 or more rows in each split: type task.slice=COLUMN",
    ),
    # sampler, budget, search
    "sampler's key": (["sampler=random", "+sampler.startup_trials=3"], "sampler random has no option 'startup_trials'"),
    "startup trials": (["sampler.startup_trials=few"], "sampler.startup_trials='few': a whole number from 0"),
    "too few to learn from": (["sampler.most_trials=100"], "sampler.most_trials=100: a whole number from 250"),
    "trials in letters": (["budget.trials=1e3"], "budget.trials=1000.0: a whole number from 1"),
    "trials are huge": (["budget.trials=99999999999999"], "a whole number from 1 to 2147483648 is allowed"),
    "hours with a unit": (["budget.hours=8h"], "budget.hours='8h': a finite number > 0 is allowed"),
    "hours are nan": (["budget.hours=nan"], "budget.hours=nan: a finite number > 0 is allowed"),
    "time of day": (["budget.until=7am"], "budget.until='7am': a local time of day is allowed, such as 07:00"),
    "stop": (["budget.stop=[kpis]"], "budget.stop=['kpis']: spent or kpis is allowed"),
    "rule": (["search.screen=false"], "unknown key 'search.screen'. Did you mean 'screens'?"),
    "margin": (["search.margin=one percent"], "search.margin='one percent': a finite number >= 0 is allowed"),
    # exam, runtime
    "exam is null": (["exam=null"], "exam=None: leave it out, or type exam.KEY=VALUE with rule, finalists"),
    "clients of the exam": (["exam.clients=[100000000]"], "exam.clients=100000000: a whole number from 1 to 1024"),
    "batches of the exam": (["exam.batch_sizes=[2000000000]"], "a whole number from 2 to 65536 is allowed"),
    "runtime": (["runtime=tensorrt"], "unknown runtime 'tensorrt'. Known: onnxruntime, openvino"),
    "threads to serve": (["runtime.threads=1000000"], "runtime.threads=1000000: a whole number from 1 to 1024"),
    "calls": (["runtime.calls=2000000000"], "runtime.calls=2000000000: a whole number from 1 to 100000 is allowed"),
    "spread": (["runtime.max_spread=inf"], "runtime.max_spread=inf: a finite number > 0 is allowed"),
    # tracking, study, seed, outputs, threads
    "tracking's file": (["tracking.uri=mlflow.db"], "tracking.uri=mlflow.db: null, sqlite:///FILE or http://HOST:PORT"),
    "tracking's host": (["tracking.uri=http://"], "tracking.uri=http://: null, sqlite:///FILE or http://HOST:PORT"),
    "artifacts' key": (["+artifacts.url=x"], "unknown key 'artifacts.url'. Did you mean 'uri'?"),
    "artifacts in one": (
        ["artifacts=s3://b/p"],
        "artifacts='s3://b/p': leave it out, or type artifacts.KEY=VALUE with",
    ),
    "artifacts' protocol": (["artifacts.uri=s33://b/p"], "unknown protocol 's33': Did you mean 's3'? a folder, file"),
    "artifacts nowhere": (["artifacts.uri=s3://"], "artifacts.uri=s3:// names no place: a folder, file:///FOLDER, s3:"),
    "artifacts' number": (["artifacts.uri=3"], "artifacts.uri=3: a folder, file:///FOLDER, s3://BUCKET/PREFIX"),
    "artifacts in memory": (
        ["artifacts.uri=memory://x"],
        "memory://x: the memory of a process is not shared",
    ),
    "artifacts' password": (["artifacts.uri=s3://key:secret@b/p"], "s3://key:***@b/p holds a password"),
    "artifacts in a file": (
        lambda f: ["task=digits", f"artifacts.uri={put(f / 'x', '')}/shared"],
        "x/shared cannot be written and read back (",
    ),
    "study is a path": (["study=../x"], "study='../x': letters, digits, '.', '_' and '-'"),
    "study is a truth": (["study=true"], "study=True: letters, digits, '.', '_' and '-'"),
    "study is empty": (["study="], "study='': letters, digits, '.', '_' and '-'"),
    "study is a file": (a_study_that_is_a_file, "is a file: type study=NAME with another name"),
    "seed": (["seed=random"], "seed='random': a whole number from 0 to 2147483648 is allowed"),
    "outputs are null": (["outputs=null"], "outputs=None: a folder is allowed, such as outputs=runs"),
    "outputs are a file": (a_file, "cannot write there (File exists): type outputs=ANOTHER_FOLDER"),
    "outputs are in a file": (no_folder, "cannot write there (Not a directory): type outputs=ANOTHER_FOLDER"),
    "device": (["device=gpu"], "device=gpu: auto, cpu, cuda or cuda:N is allowed"),
    "device without a number": (["device=cuda:x"], "device=cuda:x: auto, cpu, cuda or cuda:N is allowed"),
    "provider": (["runtime.provider=rocm"], "runtime.provider=rocm: auto, cpu, cuda, tensorrt is allowed"),
    "provider of openvino": (
        ["runtime=openvino", "runtime.provider=cuda"],
        "runtime.provider=cuda is onnxruntime's: type runtime=onnxruntime, or leave it out",
    ),
    "threads": (["threads=2000000000"], "threads=2000000000: a whole number from 1 to 1024 is allowed"),
    "engine": (["engine=rey"], "unknown engine 'rey'. Did you mean 'ray'? Known: local, ray, slurm"),
    "storage in a file": (
        ["storage=sqlite:///x.db"],
        "storage=sqlite:///x.db: of a study in a file leave it out, else",
    ),
    "storage of another kind": (
        ["storage=mysql://a@b/c"],
        "storage=mysql://a@b/c: only PostgreSQL is allowed, else type",
    ),
    "storage without a database": (
        ["storage=postgresql://me:secret@db"],
        "storage=postgresql://me:***@db: only PostgreSQL",
    ),
    "storage where nobody answers": (
        ["task=digits", "storage=postgresql://me:secret@127.0.0.1:9/x"],
        "storage=postgresql+psycopg://me:***@127.0.0.1:9/x cannot be used",
    ),
    "host": (["host=my machine"], "host='my machine': a name of letters, digits"),
    "measuring host alone": (["measure.host=big"], "measure.host=big: other machines join by storage="),
    "measuring host elsewhere": (
        ["measure.host=big", "host=small", "storage=postgresql://a@127.0.0.1:9/x", "artifacts.uri=there"],
        "autoopt search runs there, and this is small: type measure.host=small, or host=big",
    ),
    "worker of no study": (
        ["worker", "storage=postgresql://a@b/c"],
        "worker of which study? Type autoopt worker study=",
    ),
    "worker of a file": (
        ["worker", "study=x"],
        "worker joins a search by its database: type storage=postgresql+psycopg",
    ),
    "worker of another task": (
        ["worker", "study=x", "task=digits"],
        "worker, which takes the task of the study: of task=",
    ),
    "worker that submits": (
        ["worker", "study=x", "engine=slurm"],
        "worker, which has workers of its own machine: type engine=NAME with autoopt search",
    ),
    "worker with a space": (["worker", "study=x", "space=digits"], "unknown key 'space'. Known: "),
    "engine of no worker": (["engine=ray", "workers=0"], "workers=0 with engine=ray: a number from 1 on is allowed"),
    "no cluster there": (["engine=ray", "engine.address=127.0.0.1:9"], "127.0.0.1:9: nobody answers there (Connection"),
    "slurm on SQLite": (
        ["engine=slurm"],
        "engine=slurm needs a study that other machines reach: type storage=post",
    ),
    "workers": (["workers=-1"], "workers=-1: a whole number from 0 to 1024 is allowed"),
    "workers in words": (["workers=two"], "workers='two': a whole number from 0 to 1024 is allowed"),
    "no time for a trial": (["limits.trial_minutes=0"], "limits.trial_minutes=0: a finite number > 0 is allowed"),
    "memory in words": (["limits.trial_gb=8GB"], "limits.trial_gb='8GB': a finite number > 0 is allowed"),
    "less than no disk": (["limits.disk_gb=-1"], "limits.disk_gb=-1: a finite number >= 0"),
    "no grace": (["limits.grace_s=null"], "limits.grace_s=None: a finite number >= 0"),
    "an unknown limit": (["limits.trial_hours=2"], "trial_hours"),
    "limits as a number": (["limits=3"], "limits=3: leave it out, or type limits.KEY=VALUE with trial_minutes"),
    "retries": (["retry.max=1.5"], "retry.max=1.5: a whole number"),
    # checkpoints
    "checkpoint of text": (checkpoint(lambda folder: b"hello"), "does not hold the weights of task digits's teacher"),
    "checkpoint by pickle": (checkpoint(pickled), "as a .safetensors file of its architecture would"),
    "checkpoint cut short": (checkpoint(cut_short), "as a .safetensors file of its architecture would"),
    "weights of another shape": (
        weights(lambda s: s.update({"0.0.weight": torch.zeros(3)})),
        "size mismatch for 0.0.w",
    ),
    "weights that lack some": (weights(lambda s: s.pop("0.0.weight")), 'Missing key(s) in state_dict: "0.0.weight"'),
    "weights that are nan": (weights(lambda s: s["0.0.weight"].fill_(torch.nan)), "are not all finite: is it trained?"),
    "weights that are 0": (
        weights(lambda s: [v.zero_() for v in s.values()]),
        "no better than the 0.1033 of answering the same each time: is it trained",
    ),
    # tables of text
    "no table": (["task=text_classification"], "task.train=None: there is no such file: type task.train=FILE (.csv"),
    "table is a folder": (lambda f: tables(f, train=f), "there is no such file: type task.train=FILE (.csv"),
    "table is empty": (lambda f: tables(f, train=put(f / "e.csv", "")), "e.csv cannot be read: No columns to parse"),
    "table without rows": (
        lambda f: tables(f, train=put(f / "e.csv", "text,label\n")),
        "e.csv has no rows: a table wi",
    ),
    "table of bytes": (lambda f: tables(f, test=put(f / "b.csv", b"\x89PNG\xff\xfe,")), "task.test=.*b.csv cannot be"),
    "table of another kind": (lambda f: tables(f, test=put(f / "t.xlsx", "")), ".csv, .tsv, .jsonl, .parquet can be"),
    "no column of labels": (lambda f: tables(f, train=table(f / "t.csv", label="labels")), "Did you mean 'labels'?"),
    "column": (lambda f: tables(f, "task.text=txt"), "has no such column. Did you mean 'text'? Known: label, text"),
    "column is a list": (lambda f: tables(f, "task.label=[a,b]"), "task.label=['a', 'b']: text is allowed"),
    "one column for both": (lambda f: tables(f, "task.text=label"), "type task.text=COLUMN and task.label=ANOTHER"),
    "one class": (lambda f: tables(f, train=table(f / "t.csv", classes=1)), "the train split has 1 class: two or more"),
    "class not in train": (
        lambda f: tables(f, test=table(f / "t.csv", classes=3, first=9000)),
        "the test split has classes that train lacks: class2",
    ),
    "rows without label": (
        lambda f: tables(f, train=put(f / "t.csv", "text,label\na,x\nb,\nc,y\n")),
        "1 of 3 rows lack text or label",
    ),
    "sentences in two splits": (lambda f: tables(f, test=table(f / "t.csv")), "40 of 40 rows of the test split are in"),
    "max_tokens": (lambda f: tables(f, "task.max_tokens=many"), "task.max_tokens=many: a whole number from 3 to"),
    "encoder is empty": (encoder(), "has no config.json: a folder as transformers saves one is needed"),
    "encoder's config": (encoder(config="{"), "its config.json cannot be read"),
    "encoder's tokenizer": (encoder(config="{}", tokenizer="{}"), "tokenizer.json is no tokenizer that can be read"),
    "intents of another format": (
        lambda f: ["task=intents", f"task.path={put(f / 'd.json', '[]')}"],
        "has not the format {'train': [[text, intent], ...]",
    ),
    # folders of images
    "no folder": (["task=image_folder"], "task.path=None: a folder with train and test/CLASS/IMAGE is needed"),
    "folder is empty": (lambda f: ["task=image_folder", f"task.path={f}"], "a folder with train and test/CLASS/IMAGE"),
    "one class of images": (lambda f: pictures(f, "a"), "train has 1 folders of classes: two or more are needed"),
    "class without images": (spoiled_pictures(lambda f: (f / "train" / "c").mkdir()), "no images of c: add some"),
    "class only in test": (spoiled_pictures(lambda f: (f / "test" / "c").mkdir()), "has classes that train lacks: c"),
    "image is spoiled": (
        spoiled_pictures(lambda f: put(f / "train" / "a" / "x.png", b"PNG")),
        "x.png is no image that can be read: remove it, or repair it",
    ),
    "size of images": (
        lambda f: [*pictures(f), "task.size=4"],
        "task.size=4: a whole number from 8 to 1024 is allowed",
    ),
    "grey": (lambda f: [*pictures(f), "task.grey=maybe"], "task.grey='maybe': true or false is allowed"),
    # ONNX files and arrays
    "no model": (["task=onnx"], "task.model=None: there is no such file: type task.model=FILE.onnx"),
    "model is text": (onnx_file(lambda whole: b"not a model"), "m.onnx is no ONNX file"),
    "model cut short": (onnx_file(lambda whole: whole[:-4]), "m.onnx is no ONNX file"),
    "model answers nan": (lambda f: given(f, model=model(f / "n.onnx", np.nan)), "are not all finite: is it trained?"),
    "model answers wrong": (lambda f: given(f, model=model(f / "n.onnx", -1.0)), "no better than the"),
    "model that would be trained": (lambda f: given(f, "+teacher.epochs=3"), "has no weights: leave it out"),
    "model that would be pruned": (
        lambda f: given(
            f,
            "space.pruning=structured_magnitude",
            *("space.pruning_ratio=0.5", "space.epochs=1", "space.optimizer=sgd", "space.learning_rate=0.1"),
        ),
        "has no weights that could be trained: type space.pruning=none",
    ),
    "kind of model": (lambda f: given(f, "task.kind=ranking"), "task.kind=ranking: classification or regression"),
    "output of a model": (lambda f: given(f, "task.output=logits"), "task.output=logits: .*right.onnx has Y"),
    "no arrays": (
        lambda f: given(f, validation="x.npz"),
        "type task.validation=FILE.npz or MODULE:FUNCTION, with inpu",
    ),
    "arrays of text": (npz(lambda whole: b"no zip"), "is no .npz of numbers"),
    "arrays cut short": (npz(lambda whole: whole[:-200]), "is no .npz of numbers (File is not a zip file)"),
    "arrays pickled": (npz(lambda whole: pickle.dumps({"X": 1})), "write it by numpy.savez"),
    "arrays of objects": (
        lambda f: given(f, test=arrays(X=np.array([{}] * 60))),
        "is no .npz of numbers (Object arrays cannot be loaded when allow_pickle=False)",
    ),
    "names of arrays": (lambda f: given(f, test={"Z": arrays()["X"]}), "holds Z: the arrays X, targets are needed"),
    "arrays with nan": (
        lambda f: given(f, validation=arrays(1, X=np.full((60, 2), np.nan, np.float32))),
        "X of the validation split is NaN or infinite in 60 of 60 rows",
    ),
    "arrays of two lengths": (lambda f: given(f, test=arrays(2, targets=np.zeros(3))), "not as many rows everywhere"),
    "arrays without rows": (
        lambda f: given(f, test={"X": np.zeros((0, 2), np.float32), "targets": np.zeros(0)}),
        "the test split is empty",
    ),
    "labels are nan": (
        lambda f: given(f, test=arrays(2, targets=np.full(60, np.nan))),
        "targets of the test split are no class ids (0, 1, ...) in 60 of 60 rows",
    ),
    "labels out of range": (
        lambda f: given(f, test=arrays(2, targets=np.full(60, 7))),
        "targets of the test split lie in [7, 7], and the model has 2 outputs: class ids from 0 to 1 are allowed",
    ),
    "labels of one class": (
        lambda f: given(f, validation=arrays(1, targets=np.zeros(60, int))),
        "the validation split holds one class alone",
    ),
    # a model of the user's own
    "no factory": (
        ["task=custom"],
        "task.factory=None: MODULE:FUNCTION is allowed, such as task.factory=my_module:bui",
    ),
    "factory's module": (["task=custom", "task.factory=nowhere_at_all:build"], "No module named 'nowhere_at_all'"),
    "factory is a file": (["task=custom", "task.factory=./made_up.py:build"], "module ./made_up.py cannot be imported"),
    "factory's name": (module("def bild(): pass\n"), "module made_up has no 'build' to call"),
    "factory's syntax": (module("def build(:\n"), "module made_up cannot be imported: SyntaxError: invalid syntax"),
    "factory's encoding": (module(b"\xff\xfe\n"), "module made_up cannot be imported: SyntaxError"),
    "factory exits": (module("import sys\nsys.exit(3)\n"), "module made_up cannot be imported: SystemExit: 3"),
    "factory raises": (custom("raises()"), "task.factory=made_up:build raised ValueError: two lines: mend it"),
    "factory gives nothing": (custom("None"), "returns NoneType: it must return an autoopt.Task"),
    "factory gives no model": (custom("task(model=nn.Linear)"), "a torch.nn.Module is needed"),
    "factory gives no data": (custom("task(train='data.csv')"), "the train split cannot be read"),
    "data that fails": (
        custom("task(train=Rows())"),
        "cannot be read (OSError: the disk is gone): give (inputs, targets)",
    ),
    "data is a number": (custom("task(train=(torch.tensor(3.0), torch.tensor(1)))"), "an array of rows is needed"),
    "data with inf": (custom("task(test=spoiled(2, x=lambda x: x / 0))"), "is NaN or infinite in 60 of 60 rows"),
    "label not in train": (custom("task(test=spoiled(2, y=lambda y: y + 1))"), "class ids from 0 to 1 are allowed"),
    "labels are fractions": (custom("task(train=spoiled(0, y=lambda y: y + 0.5))"), "are no class ids (0, 1, ...) in"),
    "model's answer": (custom("task(model=Says())"), "it returns no tensor, but str"),
    "model's input": (custom("task(model=nn.Linear(3, 2))"), "the model does not take the train split's inputs"),
    "model gives nan": (custom("task(model=right(float('nan')))"), "are not all finite: is it trained?"),
    "model knows nothing": (custom("task(model=right(-1.0))"), "no better than the"),
    "kind": (custom("task(kind='rank')"), "Task(kind='rank'): classification or regression is allowed"),
    "metric": (custom("task(metric='f1')"), "Task(metric='f1'): accuracy, macro_f1, r2, or a function is allowed"),
    "metric raises": (custom("task(metric=raises)", *OWN_METRIC), "the task's metric failed: ValueError: two lines"),
    "metric is nan": (custom("task(metric=lambda o, t: float('nan'))", *OWN_METRIC), "quality on the validation split"),
    "loss": (custom("task(loss=3)"), "Task(loss=3): a function is needed, or None"),
    "students": (custom("task(students={'s': 3})"), "Task(students={'s': 3}): {name: function of a width} is needed"),
    "student with other outputs": (
        custom("task(students={'s': lambda width: nn.Linear(2, 7)})", "space.student=[teacher,s]"),
        "no typical student can be built: it gives 7 outputs, and the model 2",
    ),
    "name of a task": (custom("task(name='a/b')"), "Task(name='a/b'): letters, digits, '.', '_' and '-' are allowed"),
}


def test_the_table_is_long() -> None:
    assert len(ROWS) >= 70


@pytest.mark.parametrize("what", ROWS)
def test_wrong_input_is_one_line_and_exit_code_2_and_writes_nothing(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = ROWS[what]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python's own __pycache__, beside a module of the user's
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    words = list(make) if isinstance(make, list) else make(tmp_path)
    words += [] if any(word.startswith("outputs=") for word in words) else [f"outputs={tmp_path / 'outputs'}"]
    before = snapshot(tmp_path)
    began = time.perf_counter()
    code = main(words)
    took = time.perf_counter() - began
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("autoopt: ")
    assert said.err.count("\n") == 1
    parts = message.split(".*")
    places = [said.err.find(part) for part in parts]
    assert -1 not in places, said.err
    assert places == sorted(places)
    assert snapshot(tmp_path) == before
    assert took < LIMIT_S
