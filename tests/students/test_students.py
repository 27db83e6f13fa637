"""Contract of every student."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.recipe import TEACHER, Recipe
from autoopt.core.signature import Signature, Tokens
from autoopt.pruning import Pruned
from autoopt.students import STUDENTS
from autoopt.students.embedding import CutEmbedding, factors, nearest_rows, teacher_table
from autoopt.tasks import Task
from autoopt.training.loop import Hooks, train
from tests.conftest import build_student, lessons_of, make_recipe

Fitting = Callable[[str], Task]


@pytest.fixture(params=sorted(STUDENTS))
def student(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_it_maps_inputs_to_logits(student: str, fitting: Fitting) -> None:
    task = fitting(student)
    model = build_student(student, task).eval()
    assert model(*task.train.inputs[:5]).shape == (5, task.classes)
    assert model(*task.train.inputs[:1]).shape == (1, task.classes)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 40)])
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_images_may_have_any_shape(name: str, shape: tuple[int, ...]) -> None:
    recipe = Recipe(name, "none", "none", width=1.0)
    model = STUDENTS[name].build(Signature(shape, 7), nn.Identity(), recipe).eval()
    assert model(torch.rand(5, *shape)).shape == (5, 7)


def test_width_makes_it_bigger(student: str, fitting: Fitting) -> None:
    if "width" in STUDENTS[student].knobs:
        sizes = [parameters(build_student(student, fitting(student), width=width)) for width in (0.5, 1.0, 2.0)]
        assert sizes == sorted(set(sizes))


def test_the_same_seed_gives_the_same_weights(student: str, fitting: Fitting) -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_student(student, fitting(student)))
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_the_teacher_is_left_as_it_is(student: str, fitting: Fitting) -> None:
    task = fitting(student)
    teacher = task.build_teacher()
    before = copy.deepcopy(teacher.state_dict())
    model = STUDENTS[student].build(task.signature, teacher, Recipe(student, "none", "none"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1.0
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_it_learns(student: str, trained: dict[str, nn.Module], fitting: Fitting) -> None:
    task = fitting(student)
    model = trained.get(student)
    if model is None:
        torch.manual_seed(0)
        model = build_student(student, task)
        recipe = make_recipe(student=student, epochs=20 if task.tokens else 3, batch_size=16 if task.tokens else 64)
        train(Pruned(model), lessons_of(task), task.validation, recipe, seed=0, hooks=Hooks())
    with torch.no_grad():
        accuracy = (model(*task.validation.inputs).argmax(1) == task.validation.targets).float().mean()
    assert accuracy > (0.8 if task.tokens else 0.9)


def test_padding_changes_nothing(student: str, sentences: Task) -> None:
    if student not in (*sentences.students, TEACHER) or student in ("bigru", "bilstm"):
        pytest.skip("no student of text, or one whose backward recurrence does begin on the padding")
    model = build_student(student, sentences, **({"ngrams": 2} if student == "bag" else {})).eval()
    with torch.no_grad():
        together = model(*sentences.train.inputs[:20])
        alone = torch.cat([model(*sentences.train.inputs[i : i + 1]) for i in range(20)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_teacher_of_all_layers_and_the_whole_table_is_the_teacher(sentences: Task) -> None:
    torch.manual_seed(0)
    teacher = sentences.build_teacher().eval()
    recipe = Recipe(TEACHER, "depth", "none", layers=2, vocabulary="full", embedding_rank=32)
    same = STUDENTS[TEACHER].build(sentences.signature, teacher, recipe).eval()
    with torch.no_grad():
        assert torch.allclose(same(*sentences.train.inputs[:9]), teacher(*sentences.train.inputs[:9]), atol=1e-5)


def test_a_cut_vocabulary_changes_no_training_sentence(sentences: Task) -> None:
    torch.manual_seed(0)
    teacher = sentences.build_teacher().eval()
    recipe = Recipe(TEACHER, "depth", "none", vocabulary="cut")
    cut = STUDENTS[TEACHER].build(sentences.signature, teacher, recipe).eval()
    assert parameters(cut) < parameters(teacher)
    with torch.no_grad():
        assert torch.allclose(cut(*sentences.train.inputs[:50]), teacher(*sentences.train.inputs[:50]), atol=1e-5)


def test_layers_and_rank_make_the_teacher_smaller(sentences: Task) -> None:
    sizes = [
        parameters(build_student(TEACHER, sentences, **fields))
        for fields in (
            {},
            {"layers": 1},
            {"layers": 1, "embedding_rank": 8},
            {"layers": 1, "embedding_rank": 8, "vocabulary": "cut"},
        )
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_what_the_teacher_does_not_have_fails_the_trial(sentences: Task, digits: Task) -> None:
    with pytest.raises(TrialError, match=r"space.layers=3: the teacher has 2"):
        build_student(TEACHER, sentences, layers=3)
    with pytest.raises(TrialError, match="no list of layers"):
        build_student(TEACHER, digits, layers=1)
    with pytest.raises(TrialError, match="are for tasks of text"):
        build_student(TEACHER, digits, vocabulary="cut")


def test_what_a_cut_vocabulary_lacks_is_read_as_the_token_most_like_it() -> None:
    teacher = nn.Embedding.from_pretrained(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [0.1, 1.0], [3.0, 0.0]]))
    rows = nearest_rows(teacher, Tokens(5, pad=0, used=(0, 2, 4)))
    assert rows.tolist() == [0, 2, 1, 1, 2], "never as padding, which is nearer to the second"
    embedding = CutEmbedding(teacher.weight[[0, 2, 4]], rows)
    assert torch.equal(embedding(torch.tensor([[3, 4, 0]])), teacher.weight[[2, 4, 0]].unsqueeze(0))


def test_factors_are_the_closest_product(sentences: Task) -> None:
    table = teacher_table(sentences.build_teacher())
    errors = []
    for rank in (4, 16, 32):
        left, right = factors(table, rank)
        assert (left.shape[1], right.shape[0]) == (rank, rank)
        errors.append(float((left @ right - table).norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] == pytest.approx(0.0, abs=1e-3)
