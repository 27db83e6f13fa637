from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.trial import COMPLETE, SCREENED, Evaluation, Trial
from autoopt.search.expected import QAT_EPOCH, expected_seconds


def trial(number: int, student: str, epochs: int, train: float, rest: float, **fields: object) -> Trial:
    recipe = Recipe(student, "none", "none", width=number, epochs=epochs)
    seconds = {"train": train, "measure": rest} if epochs else {"measure": rest}
    return Trial(number, fields.pop("state", COMPLETE), recipe, Evaluation({}, seconds), **fields)  # type: ignore[arg-type]


TRIALS = [
    Trial(0, COMPLETE, BASELINE, Evaluation({}, {"measure": 2.0})),
    trial(1, "cnn", 10, 20.0, 3.0),
    trial(2, "cnn", 5, 15.0, 1.0),
    trial(3, "cnn", 2, 20.0, 2.0),
    trial(4, "cnn", 0, 0.0, 1.5, sibling_of=1),
    trial(5, "mlp", 10, 1.0, 2.0),
    trial(6, "cnn", 10, 90.0, 9.0, state=SCREENED),
]


def test_training_by_the_work_of_the_same_student_and_the_rest_with_siblings() -> None:
    rest = 2.0  # the median of 3 + 1.5, 1, 2 and 2
    assert expected_seconds(Recipe("cnn", "none", "none", epochs=8), TRIALS) == 3.0 * 8 + rest
    assert expected_seconds(Recipe("mlp", "none", "none", epochs=4), TRIALS) == 0.1 * 4 + rest


def test_more_layers_and_a_transfer_set_take_longer() -> None:
    seconds = [
        expected_seconds(Recipe("cnn", "none", "none", epochs=2, layers=layers, augment=augment), TRIALS) - 2.0
        for layers, augment in ((1, 0), (3, 0), (3, 1))
    ]
    assert seconds == [6.0, 18.0, 36.0]


def test_epochs_under_fake_quantization_count_for_more() -> None:
    recipe = Recipe("cnn", "none", "int8_qat", epochs=8, qat_epochs=2)
    assert expected_seconds(recipe, TRIALS) == 3.0 * (8 + 2 * QAT_EPOCH) + 2.0
    tuned = Recipe("teacher", "none", "int8_qat", qat_epochs=2)
    assert expected_seconds(tuned, TRIALS) == 0.0, "the baseline says nothing of it"
    assert expected_seconds(tuned, [*TRIALS, Trial(7, COMPLETE, tuned, Evaluation({}, {"train": 30.0}))]) == 30.0


def test_of_a_student_that_was_never_trained_nothing_is_known() -> None:
    assert expected_seconds(Recipe("gru", "none", "none", epochs=2), TRIALS) == 0.0


def test_without_training_it_is_what_such_trials_took() -> None:
    assert expected_seconds(BASELINE, TRIALS) == 2.0


def test_nothing_finished_nothing_known() -> None:
    assert expected_seconds(Recipe("cnn", "none", "none", epochs=8), TRIALS[:1]) == 0.0
    assert expected_seconds(BASELINE, []) == 0.0
