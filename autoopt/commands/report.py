"""autoopt report: the study as it stands, also while it is searched."""

from dataclasses import replace

import yaml

from autoopt.commands.conclude import read_outcome, tell, write_report
from autoopt.config import Settings
from autoopt.config_sections import read_exam
from autoopt.core.kpi import parse_kpis
from autoopt.measurements import FACTS
from autoopt.search.study import load_study


def report(settings: Settings) -> int:
    """Read-only on the study: rebuilds report.html, prints the table and the JSON document.

    KPIs and the number of finalists are those of the study's own configuration, whatever today's defaults are. The
    exam is shown where search took it.
    """
    study = load_study(settings.folder, settings.study)
    saved = yaml.safe_load((settings.folder / "config.yaml").read_text())
    settings = replace(settings, exam=read_exam(saved["exam"]))
    outcome = read_outcome(settings, study, parse_kpis(saved["kpis"], FACTS))
    write_report(outcome)
    tell(outcome)
    return 0
