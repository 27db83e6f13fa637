"""Where students are trained and artifacts measured on this machine, in words."""

from importlib.metadata import version

from autoopt.config import Settings
from autoopt.runtimes.providers import AUTO, CPU, PROVIDERS, answers, chosen, machine_of
from autoopt.training.place import gpus, place_of


def in_words(settings: Settings) -> tuple[str, str]:
    """What is used, and what to do where a GPU is left idle. Raises ConfigError where what is asked for is not here."""
    at, provider = place_of(settings.device), chosen(settings.provider)
    training = at.facts.get("trained_on", "the CPU")
    if at.mixed is not None:
        training += f" in {str(at.mixed).removeprefix('torch.')}"
    said = f"trains on {training} (device={settings.device}; torch {version('torch')} sees {gpus() or 'no'} GPU)"
    if "onnxruntime" in settings.runtimes:
        there = " and ".join(name for name in PROVIDERS if answers(name))
        serving = machine_of(provider).get("gpu", "the CPU")
        said += f"; measures on {serving} (runtime.provider={settings.provider}; onnxruntime has {there})"
    idle = gpus() and provider == CPU and settings.provider == AUTO
    return said, "to measure on the GPU: install onnxruntime-gpu in the place of onnxruntime" if idle else ""
