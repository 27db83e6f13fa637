import copy

import pytest
import torch
from torch import nn

from autoopt.core.errors import Interrupted, TrialError
from autoopt.pruning import METHODS, Pruned
from autoopt.tasks import Task
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Hooks, module_quality, raise_head, shuffled, train
from tests.conftest import build_student, lessons_of, make_recipe


def fresh(digits: Task) -> nn.Module:
    torch.manual_seed(0)
    return build_student("mlp", digits, width=0.5)


def test_the_weights_of_the_best_epoch_are_kept(digits: Task) -> None:
    model = fresh(digits)
    recipe = make_recipe(epochs=8, optimizer="sgd", momentum=0.9, learning_rate=0.8, schedule="constant")  # bounces
    curve = train(Pruned(model), lessons_of(digits), digits.validation, recipe, seed=0, hooks=Hooks())
    assert len(curve) == 8
    assert curve[-1] < max(curve), "the test needs a run whose last epoch is not its best"
    assert module_quality(model, digits.validation) == max(curve)


def test_each_epoch_is_reported(digits: Task) -> None:
    told: list[tuple[int, float]] = []
    curve = train(
        Pruned(fresh(digits)),
        lessons_of(digits),
        digits.validation,
        make_recipe(epochs=3),
        seed=0,
        hooks=Hooks(on_epoch=lambda e, q: told.append((e, q))),
    )
    assert told == list(enumerate(curve, start=1))


def test_it_stops_between_two_steps(digits: Task) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted, match="epoch 1 of 3"):
        train(
            Pruned(fresh(digits)),
            lessons_of(digits),
            digits.validation,
            make_recipe(epochs=3),
            seed=0,
            hooks=Hooks(should_stop=lambda: next(asked)),
        )


def test_a_diverging_loss_fails_the_trial_with_its_epoch(digits: Task) -> None:
    recipe = make_recipe(epochs=3, optimizer="sgd", learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrialError, match=r"the loss became (nan|inf) in epoch 1 of 3"):
        train(Pruned(fresh(digits)), lessons_of(digits), digits.validation, recipe, seed=0, hooks=Hooks())


def test_distillation_follows_the_teacher_and_not_the_labels(digits: Task) -> None:
    shifted = nn.functional.one_hot((digits.train.targets + 1) % 10, 10).float() * 10
    model = fresh(digits)
    curve = train(
        Pruned(model),
        Lessons(digits.train, shifted),
        digits.validation,
        make_recipe(epochs=6, distill_weight=1.0, temperature=2.0),
        seed=0,
        hooks=Hooks(),
    )
    with torch.no_grad():
        predicted = model(*digits.validation.inputs).argmax(1)
    assert max(curve) < 0.2  # measured against the true labels
    assert (predicted == (digits.validation.targets + 1) % 10).float().mean() > 0.8


@pytest.mark.parametrize(("epochs", "batch"), [(4, 64), (2, 1197), (1, 64)])
def test_an_epoch_before_the_final_sparsity_is_never_kept(
    epochs: int, batch: int, digits: Task, trained: dict[str, nn.Module]
) -> None:
    pruned = METHODS["unstructured_magnitude"].prune(
        copy.deepcopy(trained["mlp"]), digits.train.inputs[:8], digits.train.targets[:8], 0.95
    )
    curve = train(
        pruned,
        lessons_of(digits),
        digits.validation,
        make_recipe(epochs=epochs, batch_size=batch),
        seed=0,
        hooks=Hooks(),
    )
    weights = [m.weight for m in pruned.model.modules() if isinstance(m, nn.Linear)]
    share = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert share == pytest.approx(0.95, abs=0.01)
    if epochs > 1:
        assert module_quality(pruned.model, digits.validation) == max(curve[epochs // 2 :])


def test_a_last_batch_of_one_is_passed_over(digits: Task) -> None:
    recipe = make_recipe(epochs=1, batch_size=len(digits.train) - 1)
    assert len(train(Pruned(fresh(digits)), lessons_of(digits), digits.validation, recipe, seed=0, hooks=Hooks())) == 1


def test_sentences_are_trained_with_others_of_their_length(sentences: Task) -> None:
    inputs, generator = sentences.train.inputs, torch.Generator().manual_seed(0)
    assert inputs.lengths is not None
    batches = shuffled(inputs, 16, generator)
    assert sorted(int(place) for batch in batches for place in batch) == list(range(len(inputs)))
    padded = sum(len(batch) * int(inputs.lengths[batch].max()) for batch in batches)
    at_random = sum(
        len(batch) * int(inputs.lengths[batch].max())
        for batch in torch.randperm(len(inputs), generator=generator).split(16)
    )
    words = int(inputs.lengths.sum())
    assert padded - words < 0.25 * (at_random - words)
    again = shuffled(inputs, 16, generator)
    assert not all(torch.equal(a, b) for a, b in zip(batches, again, strict=True)), "each epoch is another one"


def test_the_head_may_learn_faster_than_the_rest(digits: Task) -> None:
    model = fresh(digits)
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    raise_head(optimizer, model, 10)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for parameter in model.parameters():
        fast = parameter is head.weight or parameter is head.bias
        assert rates[id(parameter)] == pytest.approx((1e-2 if fast else 1e-3, 0.05))
