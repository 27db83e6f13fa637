"""Text that people or other libraries wrote, within Markdown that others open."""

import re


def escaped(text: str) -> str:
    """On one line, and neither link, picture, tag, table nor emphasis: a class may be called anything."""
    return re.sub(r"([\\`*\[\]<|])", r"\\\1", " ".join(text.split()))
