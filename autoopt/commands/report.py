"""autoopt report: the study as it stands, also while it is searched."""

from autoopt.commands.conclude import read_as_searched, tell, write_report
from autoopt.config import Settings
from autoopt.core.artifact import CHAMPION, is_whole
from autoopt.search.study import load_study


def report(settings: Settings) -> int:
    """Read-only on the study: rebuilds report.html, prints the table and the JSON document.

    KPIs and the number of finalists are those of the study's own configuration, whatever today's defaults are. The
    exam is shown where search took it.
    """
    outcome, _ = read_as_searched(settings, load_study(settings.folder, settings.study, settings.storage))
    write_report(outcome)
    champion = settings.folder / CHAMPION
    damaged = champion.is_dir() and not is_whole(champion)
    tell(outcome, hints=[f"{champion} is damaged: the same search again writes it anew"] if damaged else [])
    return 0
