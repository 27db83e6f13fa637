"""autoopt compare: studies side by side, in the terminal, as a page and as one JSON document."""

import json
from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from autoopt.commands.conclude import read_as_searched, stdout_console
from autoopt.config import Settings
from autoopt.config_sections import read_name
from autoopt.core import artifact
from autoopt.report.compare_page import compare_page
from autoopt.report.comparison import Studied, cautions, comparison_document, rows
from autoopt.search.study import FINGERPRINT, load_study

LONGEST = 120
"""Characters of the names in a file's name: systems take 255."""


def compare(settings: Settings, names: Sequence[str]) -> int:
    """Read-only on the studies, which may be searched meanwhile: writes compare-A-B.html, prints the table and, as the
    last line of stdout, the JSON document.
    """
    named = [replace(settings, study=read_name(name)) for name in names]
    studies = [_read(one) for one in named]
    path = settings.outputs / f"compare-{'-'.join(names)[:LONGEST]}.html"
    artifact.write_atomically(path, compare_page(studies))
    console = stdout_console()
    table = Table("", *names, show_lines=True)
    for name, cells in rows(studies):
        table.add_row(name, *cells)
    console.print(table)
    for caution in cautions(studies):
        console.print(caution, highlight=False, markup=False)
    console.print(f"page: {path}", highlight=False, markup=False, soft_wrap=True)
    print(json.dumps({**comparison_document(studies), "page": str(path)}), flush=True)
    return 0


def _read(settings: Settings) -> Studied:
    study = load_study(settings.folder, settings.study, settings.storage)
    outcome, saved = read_as_searched(settings, study)
    return Studied(outcome, saved["task"]["name"], study.user_attrs.get(FINGERPRINT, {}))
