"""Names from outside within Markdown."""

import pytest

from autoopt.core.markdown import escaped


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("![p](http://host/x.png)", r"!\[p\](http://host/x.png)"),
        ("[37]", r"\[37\]"),
        ("a\n# title", "a # title"),
        ("<img src=x>", r"\<img src=x>"),
        ("a|b", r"a\|b"),
        ("**bold** `code`", r"\*\*bold\*\* \`code\`"),
        ("latency_p95_ms <= 2", r"latency_p95_ms \<= 2"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_it_is_text_and_nothing_else(name: str, told: str) -> None:
    assert escaped(name) == told
