"""autoopt report: the study as it stands, also while it is searched."""

from dataclasses import replace

from autoopt.commands.conclude import read_outcome, tell, write_report
from autoopt.commands.saved import read_saved
from autoopt.config import Settings
from autoopt.config_sections import read_exam
from autoopt.core.kpi import parse_kpis
from autoopt.measurements import FACTS
from autoopt.search.study import FINGERPRINT, load_study


def report(settings: Settings) -> int:
    """Read-only on the study: rebuilds report.html, prints the table and the JSON document.

    KPIs and the number of finalists are those of the study's own configuration, whatever today's defaults are; but
    for the finalists, where its config.yaml is damaged. The exam is shown where search took it.
    """
    study = load_study(settings.folder, settings.study)
    saved = read_saved(settings.folder)
    if saved is not None:
        settings = replace(settings, exam=read_exam(saved["exam"]))
    outcome = read_outcome(settings, study, parse_kpis(study.user_attrs[FINGERPRINT]["kpis"], FACTS))
    write_report(outcome)
    tell(outcome)
    return 0
