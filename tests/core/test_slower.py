"""Which schemes are slower than float is read off the trials of one structure."""

from dataclasses import replace

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.slower import slower_schemes, slower_than_float
from autoopt.core.trial import COMPLETE, Evaluation, Trial


def trial(number: int, scheme: str, structure: str, ratio: float) -> Trial:
    measured = Measurement(ratio, 1.0, 0.01, (ratio - 0.01, ratio + 0.01), (ratio - 0.01, ratio + 0.01))
    evaluation = Evaluation({"latency_p50_ms": measured}, facts={"structure": structure})
    return Trial(number, COMPLETE, Recipe("cnn", "none", scheme), evaluation)


TRIALS = [
    trial(0, "none", "a", 0.5),
    trial(1, "fp16", "a", 0.6),
    trial(2, "int8_dynamic", "a", 0.515),  # not for certain
    trial(3, "none", "b", 0.2),
    trial(4, "fp16", "b", 0.15),
    trial(5, "fp16", "c", 0.9),  # never measured in float
    Trial(6, "failed", Recipe("cnn", "none", "fp16")),
    trial(7, "weight_only_int8", "b", 0.5),
]


def test_only_what_is_certain_and_of_one_structure_counts() -> None:
    assert slower_than_float(TRIALS) == {1: 0.6 / 0.5, 7: 0.5 / 0.2}
    assert slower_schemes(TRIALS) == {"fp16": (1, 2, 0.6 / 0.5), "weight_only_int8": (1, 1, 2.5)}


def test_each_runtime_is_compared_with_itself() -> None:
    others = trial(8, "none", "a", 0.9), trial(9, "fp16", "a", 0.8)
    served = [replace(other, recipe=replace(other.recipe, runtime="openvino")) for other in others]
    assert slower_than_float([*TRIALS[:2], *served]) == {1: 0.6 / 0.5}


def test_without_intervals_nothing_is_certain() -> None:
    bare = Evaluation({"latency_p50_ms": Measurement(9.0, 1.0)}, facts={"structure": "a"})
    assert slower_than_float([TRIALS[0], Trial(1, COMPLETE, Recipe("cnn", "none", "fp16"), bare)]) == {}
