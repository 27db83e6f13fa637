"""A training that diverges ends its trial where it does, and says why; one that does not is left alone."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoopt.artifacts.cache import Cache
from autoopt.core.errors import ConfigError, TrialError
from autoopt.core.inputs import Inputs
from autoopt.core.metric import CUSTOM, Metric
from autoopt.core.trial import Draft
from autoopt.pipeline import recording
from autoopt.pruning import Pruned
from autoopt.tasks import Split, Task
from autoopt.tasks.goal import CLASSES, Goal
from autoopt.training.divergence import EXPLODED, blind_loss, check_losses
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Hooks, module_quality, train
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.quantized import train_quantized
from autoopt.training.teacher import TeacherOptions, load_teacher
from tests.conftest import build_student, make_recipe
from tests.training.test_optimizers import SPACE, VALUES

ROWS = 320


@pytest.fixture(params=sorted(OPTIMIZERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def recipe_for(name: str, **more: object) -> Any:
    """Steps of full size from the first to the last."""
    own = {knob: VALUES[knob] for knob in OPTIMIZERS[name].knobs}
    own |= {knob: value for knob, value in (("warmup", 0.0), ("schedule", "constant")) if knob in own}
    return make_recipe(optimizer=name, **{**dict.fromkeys(VALUES), **own, **more})


def few(digits: Task, goal: Goal = CLASSES) -> Lessons:
    """Five steps an epoch."""
    inputs = digits.train.inputs[:ROWS]
    return Lessons(Split(inputs, digits.train.targets[:ROWS]), torch.zeros(ROWS, digits.classes), goal)


def fresh(digits: Task) -> nn.Module:
    torch.manual_seed(0)
    return build_student("cnn", digits, width=0.5)


def run(digits: Task, recipe: Any, lessons: Lessons | None = None, model: nn.Module | None = None, **hooks: Any) -> Any:
    return train(
        Pruned(model or fresh(digits)),
        lessons or few(digits),
        digits.validation,
        recipe,
        seed=0,
        hooks=Hooks(**hooks),
    )


@pytest.mark.parametrize("rate", [1e8, 1e30])
def test_under_every_optimizer_absurd_steps_end_the_trial_in_the_first_epoch(
    name: str, rate: float, digits: Task
) -> None:
    with pytest.raises(TrialError) as caught:
        run(digits, recipe_for(name, learning_rate=rate, epochs=3))
    said = str(caught.value)
    assert f"in epoch 1 of 3, under {name} at learning rate {rate:g}" in said
    assert said.startswith(("the loss became ", "the loss exploded to ")) or " not finite any more" in said


def test_no_optimizer_is_ended_at_the_upper_end_of_its_range(name: str, digits: Task) -> None:
    rate = SPACE["learning_rate"][name]["high"]
    assert len(run(digits, recipe_for(name, epochs=2, learning_rate=rate))) == 2


def counted(values: Callable[[int], float]) -> tuple[Goal, list[int]]:
    """A loss that is multiplied by a value of the number of its call, from 1; and the calls."""
    calls: list[int] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # a step
            calls.append(len(calls) + 1)
        return nn.functional.cross_entropy(outputs, targets) * (values(len(calls)) if torch.is_grad_enabled() else 1.0)

    return replace(CLASSES, loss=loss), calls


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_trial_at_its_step(bad: float, digits: Task) -> None:
    goal, calls = counted(lambda call: bad if call == 7 else 1.0)
    draft = Draft(make_recipe(epochs=3))
    hooks = recording(draft, Hooks())
    with pytest.raises(
        TrialError, match=r"^the loss became (nan|-?inf) in epoch 2 of 3, under adamw at learning rate 0.0"
    ):
        run(digits, draft.recipe, few(digits, goal), on_epoch=hooks.on_epoch)
    assert len(calls) == 7, "two epochs of five steps, and no step more"
    assert len(draft.curve) == 1, "what was known stays"


def test_a_loss_that_explodes_ends_the_trial_with_its_epoch(digits: Task) -> None:
    goal, calls = counted(lambda call: 1e4 if call > 5 else 1.0)
    with pytest.raises(
        TrialError, match=r"^the loss exploded to .* in epoch 2 of 3, under adamw .*of the untrained model"
    ):
        run(digits, make_recipe(epochs=3), few(digits, goal))
    assert len(calls) == 10


def test_only_a_multiple_of_a_loss_above_0_is_an_explosion() -> None:
    recipe = make_recipe()
    for losses, untrained in (([EXPLODED], 1.0), ([5.0], -1.0), ([5.0], 0.0), ([1e9], math.inf), ([1e9], math.nan)):
        check_losses(losses, untrained, 0, recipe)
    with pytest.raises(TrialError, match="exploded"):
        check_losses([0.5, 2.1 * EXPLODED], 1.0, 0, recipe)


def test_a_student_that_begins_with_a_loss_near_0_may_lose_it(digits: Task) -> None:
    lessons = few(digits)
    recipe = make_recipe(distill_weight=0.0)
    rows, here = torch.arange(64), torch.device("cpu")
    assert blind_loss(lessons.take(rows, here), recipe, lessons.goal) == pytest.approx(math.log(10), rel=1e-4)
    logits = nn.functional.one_hot(lessons.split.targets, 10).float() * 20
    taught = Lessons(lessons.split, logits)
    soft = make_recipe(distill_weight=1.0, temperature=2.0)
    assert blind_loss(taught.take(rows, here), soft, taught.goal) > 1, "the same, of whoever imitates"


class Gone(nn.Module):
    """Right while it is trained, NaN where it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x.flatten(1))
        return found if self.training else found * math.nan


def test_outputs_that_are_no_numbers_end_the_trial_though_every_loss_was_one(digits: Task) -> None:
    with pytest.raises(
        TrialError, match=r"^outputs on validation are not finite any more in epoch 1 of 2, under adamw"
    ):
        run(digits, make_recipe(epochs=2), model=Gone())


def test_statistics_of_a_batch_norm_that_overflow_end_the_trial(digits: Task) -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    lessons = few(digits)
    huge = Lessons(
        Split(Inputs({"input": next(iter(lessons.split.inputs)) * 1e30}), lessons.split.targets), lessons.logits
    )
    with pytest.raises(TrialError, match=r"^1.running_var is not finite any more in epoch 1 of 2, under adamw"):
        run(digits, make_recipe(epochs=2), huge, model)


def test_weights_that_no_loss_shows_end_the_trial(digits: Task) -> None:
    goal, calls = counted(lambda call: 1.0)
    model = fresh(digits)

    def spoil() -> bool:
        if len(calls) == 5:  # after the last loss of the second epoch has been taken
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)
        return False

    recipe = make_recipe(epochs=2, batch_size=64)
    with pytest.raises(TrialError, match=r"the loss became nan in epoch 2 of 2"):
        run(digits, recipe, few(digits, goal), model, should_stop=spoil)


def test_quantization_aware_training_that_diverges_says_so(name: str, digits: Task) -> None:
    recipe = recipe_for(name, quantization="int8_qat", qat_epochs=2, learning_rate=1e31)
    model, curve = fresh(digits).eval(), []
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(
        TrialError, match=rf"^under fake quantization .* in epoch 1 of 2, under {name} at learning rate 1e\+30"
    ):
        train_quantized(
            model, few(digits), digits.validation, recipe, seed=0, on_epoch=lambda epoch, quality: curve.append(quality)
        )
    assert curve == []
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), "the model is as it was"


def test_a_teacher_that_diverges_says_what_to_type_and_is_not_kept(name: str, digits: Task, tmp_path: Path) -> None:
    small = replace(digits, train=few(digits).split, build_teacher=lambda: fresh(digits))
    options = TeacherOptions(epochs=1, optimizer=name, learning_rate=1e30)
    with pytest.raises(ConfigError, match=r"^the teacher cannot be trained: .*: type teacher.learning_rate=1e\+29$"):
        load_teacher(small, options, Cache(tmp_path), 0, Hooks())
    assert not any((tmp_path / "teachers").iterdir())


def sometimes(values: list[float]) -> Goal:
    """A metric of the user's own, which says these one after the other."""
    said = iter(values)
    return replace(CLASSES, metric=Metric(CUSTOM, lambda outputs, targets: next(said)))


def test_an_epoch_whose_quality_is_nan_is_never_the_best(digits: Task) -> None:
    model = fresh(digits)
    seen: list[Tensor] = []
    curve = run(
        digits,
        make_recipe(epochs=4),
        few(digits, sometimes([math.nan, 0.3, math.nan, 0.2])),
        model,
        on_epoch=lambda epoch, quality: seen.append(next(model.parameters()).detach().clone()),
    )
    assert np.isnan(curve).tolist() == [True, False, True, False]
    assert torch.equal(next(model.parameters()), seen[1])


def test_a_metric_that_never_says_a_number_ends_the_trial(digits: Task) -> None:
    with pytest.raises(TrialError, match=r"^quality is no number after any of 2 epochs"):
        run(digits, make_recipe(epochs=2), few(digits, sometimes([math.nan, math.nan])))


def test_what_is_checked_changes_no_training(digits: Task) -> None:
    model = fresh(digits)
    curve = run(digits, make_recipe(epochs=3), model=model)
    assert module_quality(model, digits.validation) == max(curve)
