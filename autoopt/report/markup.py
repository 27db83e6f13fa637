"""HTML from plain values. Whatever comes from outside is escaped here, and nowhere else."""

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any


class Markup(str):
    """Text that is HTML already."""


def text(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def joined(parts: Iterable[str], between: str = "") -> Markup:
    return Markup(between.join(map(text, parts)))


def tag(name: str, *inside: str, **attributes: object) -> Markup:
    """An attribute's '_' is '-', a trailing one is left out (class_); None leaves the attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(inside)}</{name}>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], class_: str | None = None) -> Markup:
    """It scrolls by itself where the screen is too narrow. Without a head where that is empty."""
    top = tag("thead", tag("tr", *(tag("th", cell) for cell in head))) if head else ""
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", top, body, class_=class_), class_="scroll")


def bar(share: float, class_: str | None = None) -> Markup:
    """A bar of `share` of its cell's width, in [0, 1]."""
    return tag("span", tag("i", style=f"width:{100 * share:.1f}%", class_=class_), class_="bar")


def command(line: str) -> Markup:
    """A command and the button that copies it."""
    return tag("div", tag("code", line), tag("button", "copy", class_="copy", data_copy=line), class_="command")


def script(value: Any, **attributes: object) -> Markup:
    """JSON that page.js reads; '<' is written so that no text in it can end the script, and what is no number is null:
    JSON has neither NaN nor infinity, and a metric of one's own may give them.
    """
    data = Markup(json.dumps(_finite(value), allow_nan=False).replace("<", "\\u003c"))
    return tag("script", data, type="application/json", **attributes)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
