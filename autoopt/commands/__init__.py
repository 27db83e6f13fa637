"""The verbs: one file each, a function `(settings) -> exit code` that wires the parts together."""
