"""Reports: the result units of a run as tables, figures and pages that can be printed, published and shared."""

from __future__ import annotations

from wfm_cli.core.evaluation.report.collect import collect, report_data
from wfm_cli.core.evaluation.report.model import Report
from wfm_cli.core.evaluation.report.render import FORMATS, render

__all__ = ["FORMATS", "Report", "collect", "render", "report_data"]
