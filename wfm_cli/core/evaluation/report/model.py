"""What a report is made of, free of any output format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wfm_cli.core.evaluation.metrics import METRICS

Budget = int | str
"""Labels in all (10), of every class (`"5 per class"`), `"all"`, or a share as printed in a paper (`"10 %"`)."""

ROLES = {
    "encoder": "Encoders",
    "control": "Controls",
    "supervised": "Supervised from scratch",
    "baseline": "Classical features",
    "reference": "References",
}
"""Roles of rows in the order in which tables group them, with the heading of the group."""

_FORECAST_ROLES = {
    "supervised": "Encoder and heads trained together",
    "baseline": "Trained without an encoder",
    "reference": "Without training",
}
"""Headings that differ in tables of predictive tasks."""

_DECIMALS = {"%": 1, "dB": 2, "m": 2}
_FINER = {
    "ade": 3,
    "fde": 3,
    "power_loss": 3,
    "rssi_rmse": 3,
    "rssi_rmse_window": 3,
    "rssi_mae": 3,
    "rank_me": 1,
    "lda_rank": 1,
}
"""Metrics whose differences are small against their unit."""


def fixed(value: float, digits: int) -> str:
    """`value` with so many digits behind the point, and never `-0.0`."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name in the units, how it is printed, and which way is better."""

    name: str
    unit: str
    direction: str

    @property
    def title(self) -> str:
        """Name for people."""
        known = METRICS.get(self.name)
        return known.title if known else self.name.upper() if len(self.name) < 4 else self.name.replace("_", " ")

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return _FINER.get(self.name, _DECIMALS.get(self.unit, 3))

    @property
    def header(self) -> str:
        """Title with unit, for axes and captions."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float) -> str:
        """`value` with the metric's digits; the minus sign is a hyphen, backends may replace it."""
        return fixed(value, self.decimals)

    def better(self, a: float, b: float) -> bool:
        """Whether `a` beats `b`."""
        return a < b if self.direction == "min" else a > b


@dataclass(frozen=True)
class Cell:
    """One unit in a table: the primary metric of an encoder at a label budget."""

    mean: float | None = None
    half: float | None = None
    """Half width of the t-interval over seeds; None when there are too few seeds or they agree exactly."""
    boot: tuple[float, float] | None = None
    """Bootstrap interval over test samples."""
    seeds: int = 0
    n_train: float = float("nan")
    """Mean number of training labels over the seeds."""
    error: str = ""
    """Why the unit failed; empty when it did not."""
    key: str = ""
    """Key of the unit in the run."""
    best: bool = False
    tied: bool = False
    """Not the best, but its interval overlaps that of the best."""

    @property
    def score(self) -> float:
        """The mean, NaN for a failed unit."""
        return float("nan") if self.mean is None else self.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval that is shown: over seeds where there is one, else over test samples."""
        if self.mean is not None and self.half is not None:
            return self.mean - self.half, self.mean + self.half
        return self.boot


@dataclass(frozen=True)
class Delta:
    """An encoder minus the best row that needs no pretraining, on the same test users."""

    mean: float
    lo: float
    hi: float
    p: float
    """Holm-corrected over all comparisons of the table."""
    against: str
    """Label of the row it is compared with."""


@dataclass(frozen=True)
class Row:
    """One encoder under one probe."""

    label: str
    role: str
    encoder: str
    pooling: str
    probe: str
    dim: int | None
    cells: dict[Budget, Cell]
    by_metric: dict[str, Cell] = field(default_factory=dict)
    """Cells of a table whose columns are metrics."""

    @property
    def name(self) -> str:
        """Label with the probe, unique in a table unless poolings share a label."""
        return f"{self.label} ({self.probe})" if self.probe and self.probe not in self.label else self.label


@dataclass(frozen=True)
class Published:
    """Figures of the literature for one task, all of one system, protocol and metric."""

    system: str
    protocol: str
    metric: str
    unit: str
    source: str
    values: dict[Budget, float]
    mark: str
    """Letter of its footnote, shared by all figures of one protocol, metric and source."""


@dataclass(frozen=True)
class TaskTable:
    """All units of one task on one split of one data set."""

    task: str
    version: int
    title: str
    metric: Metric
    budgets: tuple[Budget, ...]
    rows: tuple[Row, ...]
    published: tuple[Published, ...] = ()
    split: str = ""
    leak: dict[str, Any] = field(default_factory=dict)
    n_test: int | None = None
    n_val: int | None = None
    left_out: int = 0
    """Labelled samples that the task does not want."""
    classes: tuple[str, ...] = ()
    data_digest: str = ""
    deltas: dict[str, dict[Budget, Delta]] = field(default_factory=dict)
    """Differences of the encoders by `Row.name`."""
    columns: tuple[Metric, ...] = ()
    """Metrics side by side, at the only budget that predictive tasks have; empty where columns are budgets."""
    clustered: str = ""
    """What intervals resample in place of test samples: groups of samples that tell nearly the same."""

    def section(self, role: str) -> list[Row]:
        """Rows of one role."""
        return [row for row in self.rows if row.role == role]

    def cells(self) -> list[Cell]:
        """Every cell."""
        return [cell for row in self.rows for cell in row.cells.values()]

    def heading(self, role: str) -> str:
        """Heading of the rows of one role."""
        return {**ROLES, **(_FORECAST_ROLES if self.columns else {})}[role]

    def n_train(self, budget: Budget) -> float | None:
        """Training labels of a budget, the most that any row saw."""
        counts = [row.cells[budget].n_train for row in self.rows if budget in row.cells and row.role != "reference"]
        return max((count for count in counts if count == count), default=None)

    def n_all(self) -> int | None:
        """Training labels of the budget `all`."""
        counts = [row.cells["all"].n_train for row in self.rows if "all" in row.cells]
        counts = [count for count in counts if count == count]
        return round(max(counts)) if counts else None

    def column(self, budget: Budget) -> str:
        """Heading of a budget: `10 labels`, `all (1,180)`."""
        if budget != "all":
            return f"{budget:,} labels" if isinstance(budget, int) else str(budget)
        count = self.n_all()
        return f"all ({count:,})" if count else "all"


@dataclass(frozen=True)
class Pretraining:
    """Summary of a pretraining run: what it learnt beside what needs no training."""

    facts: tuple[tuple[str, str], ...]
    """Name and value of the run's facts: model, parameters, steps, throughput ..."""
    rows: tuple[tuple[str, dict[str, float]], ...]
    """Reconstruction error in dB on validation data: (system, {"median", "p10", "p90"})."""
    verdict: str
    """One sentence that says whether training beats the training-free references."""
    alarm: str = ""
    """What is wrong with the representation, if anything."""


@dataclass(frozen=True)
class Report:
    """Everything that a report says about a run."""

    name: str
    kind: str
    status: str
    recipe: dict[str, Any]
    versions: dict[str, str]
    tables: tuple[TaskTable, ...]
    findings: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    """(unit key, error)."""
    units: int
    planned: int
    """Units that the run set out to make."""
    pretraining: Pretraining | None = None
