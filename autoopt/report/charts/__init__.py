"""The charts of report.html.

Each is `(outcome) -> list of charts`, empty where there is nothing to show; a new one is one file and one line here.
Colours are names of style.css, `var(--front)`: page.js puts in what they are in the light, in the dark and in print.
"""

from collections.abc import Callable

from autoopt.report.charts.chart import Chart
from autoopt.report.charts.curves import curves
from autoopt.report.charts.exams import exams
from autoopt.report.charts.front import fronts
from autoopt.report.charts.parallel import parallel
from autoopt.report.outcome import Outcome

CHARTS: dict[str, Callable[[Outcome], list[Chart]]] = {
    "front": fronts,
    "parallel": parallel,
    "curves": curves,
    "exams": exams,
}
