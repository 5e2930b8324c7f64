"""Every format, read back."""

from __future__ import annotations

import csv
import io
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.fakes import runs
from wfm_cli.core.evaluation.report import FORMATS, render
from wfm_cli.core.evaluation.report.confusion import confusion_matrix
from wfm_cli.core.evaluation.report.csv import COLUMNS
from wfm_cli.core.evaluation.report.latex import escape
from wfm_cli.core.evaluation.report.model import fixed
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError, StoreError

SOURCES = {"published": runs.published, "findings": runs.findings}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runs.benchmark_run(tmp_path_factory.mktemp("runs") / "bench.zarr", failed=True)


@pytest.fixture(scope="module")
def pretrain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runs.pretrain_run(tmp_path_factory.mktemp("runs") / "pre.zarr", summary=True)


def text_of(run: Run | Path, form: str) -> str:
    made = render(run, form, **SOURCES)
    if isinstance(made, str):
        return made
    console = Console(width=150, file=io.StringIO(), record=True)
    console.print(made)
    return console.export_text()


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return struct.unpack(">II", data[16:24])


def test_the_table_names_everything_an_honest_number_needs(bench: Run) -> None:
    text = text_of(bench, "table")
    mean = bench.unit("los.00.10").attrs["metrics"]["macro_f1"]["mean"]
    assert f"{mean:.1f} ±" in text
    for needed in (
        "LoS/NLoS", "16 beams", "Encoders", "Controls", "Classical features", "Published", "majority class",
        "300 test samples", "34.2 % of the test users stand nearer than 5 m", "over 5 seeds", "Findings",
        "beam_16.99.10: out of memory_&%", "six cities, test used as validation",
    ):  # fmt: skip
        assert needed in text, needed


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_loses_no_number(bench: Run, width: int) -> None:
    made = render(bench, "table", **SOURCES)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(made)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for unit in bench.units():
        if "metrics" in unit.attrs:
            entry = unit.attrs["metrics"]["macro_f1"]
            assert f"{entry['mean']:.1f}" in text
            if entry["half_width"]:
                assert f"±{entry['half_width']:.1f}" in text
            else:
                assert f"[{entry['boot'][0]:.1f}, {entry['boot'][1]:.1f}]" in text
    assert text.count("95.0") >= 1  # the published figure of the last column


def test_csv_is_tidy_and_exact(bench: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(bench, "csv"))))
    assert tuple(rows[0]) == COLUMNS
    units = [row for row in rows if row["role"] != "published"]
    metrics = len(bench.unit("los.00.10").attrs["metrics"])
    assert len(units) == 56 * metrics + 1
    found = {(row["key"], row["metric"]): float(row["mean"]) for row in units if row["mean"]}
    for unit in bench.units():
        for name, entry in unit.attrs.get("metrics", {}).items():
            assert found[unit.key, name] == entry["mean"]
    assert [row["error"] for row in rows if row["status"] == "failed"] == ["out of memory_&%"]
    assert {row["label"] for row in rows if row["role"] == "published"} >= {"LWM v1.0 (CLS)"}


def test_markdown_tables_are_rectangular_and_markup_is_neutralised(bench: Run) -> None:
    text = text_of(bench, "md")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert r"50 % of \*all\*\_x" in text
    assert "3 &lt; 5" in text
    assert "**" in text
    assert "<u>" in text


def test_latex_is_balanced_escaped_booktabs(bench: Run) -> None:
    text = text_of(bench, "latex")
    for rule in ("toprule", "bottomrule", "midrule"):
        assert f"\\{rule}" in text
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert r"\pm" in text
    assert r"\mathbf{" in text
    assert r"\underline{" in text
    assert re.search(r"caption\{.*macro F1|Macro F1 \(\\%\).*wfm .*, data 5f1d5f1d5f1d\)", text)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") == body.count("}")
    assert not re.search(r"(?<!\\)[%#]", body)
    for line in re.findall(r"^.*\\\\$", body, flags=re.MULTILINE):
        columns = 6 if "multicolumn" not in line else None
        assert columns is None or len(re.findall(r"(?<!\\)&", line)) == columns - 1, line


def test_latex_escape_leaves_nothing_special() -> None:
    assert escape(r"a_b & 5 % {x} \y ~^#$") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{}\#\$"
    )


class Balanced(HTMLParser):
    """Checks that tags close in order and collects what the page refers to."""

    void = frozenset({"meta", "br", "img", "use", "link", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["bench", "pretrain"])
def test_html_is_one_file_without_network_or_scripts(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (path,) = render(request.getfixturevalue(name), "html", tmp_path, **SOURCES)
    text = Path(path).read_text()
    page = Balanced()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "svg" in page.tags
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text


def test_html_holds_tables_published_figures_failures_and_recipe(bench: Run, tmp_path: Path) -> None:
    render(bench, "html", tmp_path, **SOURCES)
    text = (tmp_path / "report.html").read_text()
    for needed in ("3 &lt; 5 &amp; 50 %", "out of memory_&amp;%", "waveslab.ai", "step: benchmark", runs.DATA_DIGEST):
        assert needed in text, needed
    mean = bench.unit("beam_16.00.all").attrs["metrics"]["macro_f1"]["mean"]
    assert f'<span class="value">{mean:.1f}</span>' in text


def test_figures_have_ieee_widths_and_come_as_png_and_pdf(bench: Run, pretrain: Run, tmp_path: Path) -> None:
    made = [path.name for path in render(bench, "png", tmp_path, **SOURCES)]
    assert made == [
        "labels_los.png", "labels_los.pdf", "labels_beam_16.png", "labels_beam_16.pdf", "overview.png", "overview.pdf",
    ]  # fmt: skip
    assert png_size(tmp_path / "labels_los.png")[0] == 1050  # 3.5 in at 300 dpi
    assert png_size(tmp_path / "overview.png")[0] == 2148  # 7.16 in
    made = [path.name for path in render(pretrain, "png", tmp_path, **SOURCES)]
    assert made == ["reconstruction.png", "reconstruction.pdf", "training.png", "training.pdf"]
    assert (tmp_path / "training.pdf").read_bytes().startswith(b"%PDF")


def test_equal_runs_give_equal_files(bench: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for form in ("html", "png"):
            render(bench, form, tmp_path / name, **SOURCES)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_pretraining_run_shows_the_closed_form_references_beside_itself(pretrain: Run) -> None:
    median = pretrain.attrs["summary"]["quantiles"]["nmse"]["median"]
    for form in ("table", "md", "latex"):
        text = text_of(pretrain, form)
        assert f"{median:.2f}" in text
        assert "rank-1 completion (no training)" in text
        assert "rank-2 completion (no training)" in text
    rows = list(csv.DictReader(io.StringIO(text_of(pretrain, "csv"))))
    assert [float(row["step"]) for row in rows] == pretrain.curves.read()["step"].tolist()


def test_a_loss_that_a_closed_form_beats_is_said_to_be_so(tmp_path: Path) -> None:
    ahead = text_of(runs.pretrain_run(tmp_path / "a", ahead=True), "table")
    behind = text_of(runs.pretrain_run(tmp_path / "b", ahead=False), "table")
    assert "dB better (median) than rank-2 completion" in ahead
    assert "A method without training beats the model: rank-2 completion" in behind


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["benchmark", "pretrain", "import"])
def test_an_empty_run_renders_in_every_format(tmp_path: Path, form: str, kind: str) -> None:
    run = Run.create(tmp_path / "run", kind, {})
    assert isinstance(render(run, form, tmp_path / "out"), list)
    if form not in ("png", "html"):
        assert render(run, form) is not None


def test_one_seed_and_one_budget_render_in_every_format(tmp_path: Path) -> None:
    run = runs.benchmark_run(tmp_path / "run", budgets=("all",), seeds=1)
    for form in FORMATS:
        assert all(path.stat().st_size for path in render(run, form, tmp_path / "out", **SOURCES))


def test_wrong_calls_say_what_to_do(bench: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown report format 'pdf'"):
        render(bench, "pdf")
    with pytest.raises(InputError, match="makes files") as error:
        render(bench, "html")
    assert "--out" in str(error.value.hint)
    with pytest.raises(StoreError, match="not a run"):
        render(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        render(bench, "md", tmp_path / "file")


def test_confusion_counts_every_seed_and_marks_absent_classes() -> None:
    truth = np.array([0, 0, 1, 1])
    shares = confusion_matrix(truth, np.array([[0, 1, 1, 1], [0, 0, 1, 0]]), 3)
    assert shares[:2].tolist() == [[0.75, 0.25, 0.0], [0.25, 0.75, 0.0]]
    assert np.isnan(shares[2]).all()


@pytest.mark.parametrize(("value", "text"), [(-0.0004, "0.00"), (-0.006, "-0.01"), (2.345678, "2.35")])
def test_numbers_never_show_a_negative_zero(value: float, text: str) -> None:
    assert fixed(value, 2) == text
