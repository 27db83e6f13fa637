"""autoopt: overnight search for the best deployable version of a PyTorch model."""

from autoopt.core.errors import ArtifactError, AutooptError, ConfigError, TrialError

__all__ = ["ArtifactError", "AutooptError", "ConfigError", "TrialError", "__version__"]

__version__ = "0.1.0"
