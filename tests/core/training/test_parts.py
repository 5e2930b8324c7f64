"""Schedule, parameter groups, averages, monitors, batches, status line."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.core.training.toy import ToyObjective
from wfm_cli.core.recipe.pretrain import TrainBlock
from wfm_cli.core.training.batches import as_real, spread
from wfm_cli.core.training.dist import Ranks, World, first_host, ranks_from
from wfm_cli.core.training.ema import follow, gap, momentum
from wfm_cli.core.training.finish import verdict
from wfm_cli.core.training.monitors import examine, knn_accuracy, mean_cosine, rankme
from wfm_cli.core.training.optimiser import build_optimiser, parameter_groups
from wfm_cli.core.training.precision import arithmetic, choose_threads, seed_step
from wfm_cli.core.training.schedule import interval, learning_rate, total_steps
from wfm_cli.core.training.status import Status, clock
from wfm_cli.core.training.validate import quantiles
from wfm_cli.errors import InputError

ALONE = World(Ranks(), torch.device("cpu"))


def block(**fields: object) -> TrainBlock:
    return TrainBlock.model_validate({"steps": 100, **fields})


def test_rate_rises_in_a_line_and_falls_on_a_cosine() -> None:
    train = block(lr=1.0, min_lr=0.1, warmup=0.1)
    rates = [learning_rate(train, step, 100) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[54] == pytest.approx(0.55)  # half way between peak and floor
    assert all(a > b for a, b in pairwise(rates[9:]))


def test_constant_rate_and_no_warm_up() -> None:
    train = block(lr=0.5, warmup=0.0, schedule="constant")
    assert {learning_rate(train, step, 100) for step in range(100)} == {0.5}


@given(st.integers(1, 5000), st.floats(0, 0.99), st.floats(1e-6, 1.0))
def test_rate_stays_between_zero_and_peak(total: int, warmup: float, floor: float) -> None:
    train = block(lr=1.0, min_lr=floor, warmup=warmup)
    rates = [learning_rate(train, step, total) for step in {0, total // 3, total // 2, total - 1}]
    assert all(0 < rate <= 1.0 for rate in rates)


def test_length_and_intervals() -> None:
    assert total_steps(block(steps=None, epochs=2.5), 10) == 25
    assert total_steps(block(steps=None, epochs=0.01), 10) == 1
    assert interval(0, 200) == 20
    assert interval(0, 5) == 1
    assert interval(7, 200) == 7


def test_decay_acts_on_matrices_alone() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm, self.table = nn.Linear(3, 1), nn.LayerNorm(3), nn.Embedding(5, 3)
            self.cls_token, self.position = nn.Parameter(torch.zeros(1, 1, 3)), nn.Parameter(torch.zeros(7, 3))
            self.composition = nn.Parameter(torch.zeros(4, 3))  # holds "position" inside a word
            self.frozen = nn.Parameter(torch.zeros(4, 3), requires_grad=False)

    model = Model()
    decayed, spared = (group["params"] for group in parameter_groups(model, 0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in decayed} == {"linear.weight", "composition"}
    expected = {"linear.bias", "norm.weight", "norm.bias", "table.weight", "cls_token", "position"}
    assert {names[id(p)] for p in spared} == expected
    assert build_optimiser(model, block()).defaults["fused"]


def test_average_follows_in_closed_form() -> None:
    target, source = nn.Linear(3, 2), nn.Linear(3, 2)
    start = [p.detach().clone() for p in target.parameters()]
    for _ in range(4):
        follow(target, source, 0.9)
    for old, new, goal in zip(start, target.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9**4 * old + (1 - 0.9**4) * goal)
    assert momentum(0, 10, 0.99) == 0.99
    assert momentum(10, 10, 0.99) == 1.0
    assert momentum(5, 10, 0.9, shape="cosine") == pytest.approx(0.95)


def test_rankme_of_known_spectra() -> None:
    axes = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    assert rankme(axes) == pytest.approx(8, abs=1e-3)
    assert rankme(axes[:, :1] @ torch.ones(1, 8, dtype=torch.float64)) == pytest.approx(1, abs=1e-3)
    spectrum = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64) / 8
    entropy = -(spectrum * spectrum.log()).sum()
    assert rankme(axes[:, :4] * spectrum) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_rankme_agrees_with_an_svd_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wfm_cli.core.training.monitors.CHUNK", 7)
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) * torch.logspace(0, -5, 6)
    s = torch.linalg.svdvals(values.double())
    p = s / s.sum() + 1e-7
    assert rankme(values) == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-9)


def test_monitors_alarm_on_collapse_alone() -> None:
    healthy = torch.randn(200, 40, generator=torch.Generator().manual_seed(0))
    assert examine(healthy).alarm is None
    assert examine(healthy).feature_std == pytest.approx(1.0, abs=0.05)
    assert "collapsed" in (examine(healthy[:, :1] @ torch.ones(1, 40)).alarm or "")
    assert "constant" in (examine(healthy * 1e-4).alarm or "")
    assert "collapsed" in (examine(healthy * float("nan")).alarm or "")
    assert examine(torch.zeros(5, 4)).rankme >= 0  # no NaN, no error


def test_alarms_name_the_likely_cause() -> None:
    healthy = torch.randn(300, 40, generator=torch.Generator().manual_seed(0))
    constant = 5 + 1e-5 * healthy
    assert "jepa_sigreg" in (examine(constant, more={"ema_gap": 0.01}).alarm or "")
    assert "left behind" in (examine(constant, more={"ema_gap": 0.9}).alarm or "")
    assert "looks alike" in (examine(constant).alarm or "")
    assert "not finite" in (examine(healthy * float("nan")).alarm or "")
    assert "few directions" in (examine(healthy[:, :1] @ torch.ones(1, 40)).alarm or "")


def test_cosine_and_neighbours_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(12, 3, generator=generator) + 0.3, torch.arange(12) % 3 * 7
    cosines = torch.nn.functional.cosine_similarity(points[:, None], points[None], dim=-1)
    pairs = [float(cosines[i, j]) for i in range(12) for j in range(12) if i != j]
    assert mean_cosine(points) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)
    right = 0
    for i in range(12):
        near = sorted((j for j in range(12) if j != i), key=lambda j: -float(cosines[i, j]))[:4]
        votes = {int(c): sum(math.exp(float(cosines[i, j]) / 0.1) for j in near if labels[j] == c) for c in labels}
        right += max(votes, key=lambda c: votes[c]) == int(labels[i])
    assert knn_accuracy(points, labels, k=4) == pytest.approx(right / 12)
    assert examine(points, labels).columns()["knn"] == knn_accuracy(points, labels)


def test_the_gap_of_two_modules() -> None:
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    vectors = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (one, other)]
    expected = float((vectors[0] - vectors[1]).norm() / vectors[0].norm())
    assert gap(one, other) == pytest.approx(expected, rel=1e-5)
    assert gap(one, one) == 0


def test_verdict_pairs_every_reference_with_its_own_value() -> None:
    table = {name: {"median": value} for name, value in (("nmse_latent", -3.0), ("nmse_latent_mean", -1.0))}
    assert "2.00 dB better" in verdict(table, ("nmse_latent_mean",))
    assert verdict({"other": {"median": 0.0}, "nmse_rank1": {"median": 0.0}}, ("nmse_rank1",)) == ""


def test_complex_rows_become_real_ones_without_a_copy() -> None:
    rows = (np.arange(12) + 1j).astype(np.complex64).reshape(2, 3, 2)
    real = as_real(rows)
    assert real.shape == (2, 3, 2, 2)
    assert real.data_ptr() == rows.ctypes.data
    rows.flags.writeable = False
    torch.testing.assert_close(as_real(rows), real)
    assert as_real(np.zeros((2, 3), np.float64)).dtype == torch.float32


def test_spread_takes_the_ends_and_no_sample_twice() -> None:
    ids = np.arange(100, 1100, 3)
    chosen = spread(ids, 50)
    assert chosen[0] == ids[0]
    assert chosen[-1] == ids[-1]
    assert len(np.unique(chosen)) == 50
    np.testing.assert_array_equal(spread(ids, 5000), ids)


def test_places_given_by_launchers() -> None:
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert ranks_from(torchrun) == Ranks(3, 8, 1, 2)
    batch = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}
    assert ranks_from({**batch, "SLURM_STEP_ID": "0"}) == Ranks(5, 8, 1, 4)
    assert ranks_from(batch) is None  # the batch script itself, not a task started by srun
    assert ranks_from({}) is None
    with pytest.raises(InputError, match="torchrun or SLURM"):
        ranks_from({"RANK": "x", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("nodes", "first"), [("gpu[03-07,12],cpu1", "gpu03"), ("node1", "node1"), ("a1,a2", "a1"), ("n[7]-ib", "n7-ib")]
)
def test_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_threads(3, Ranks()) == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0, 0))
    assert choose_threads(None, Ranks()) == 8
    assert choose_threads(None, Ranks(local_size=4)) == 2
    monkeypatch.setattr("os.getloadavg", lambda: (5.0, 0, 0))
    assert choose_threads(None, Ranks()) == 1


def test_arithmetic_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    with arithmetic("tf32", ALONE):
        torch.set_num_threads(2)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "high"
        torch.rand(100)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.equal(torch.rand(3), expected)


def test_draws_depend_on_seed_step_and_rank_alone() -> None:
    def draw(*key: int) -> torch.Tensor:
        seed_step(*key, torch.device("cpu"))
        return torch.rand(4)

    with arithmetic("fp32", ALONE):
        assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
        others = [draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 0)]
    assert len({tuple(values.tolist()) for values in others}) == 4


def test_errors_are_shown_in_decibels() -> None:
    found = quantiles("nmse_rank1", np.full(5, 0.01))
    assert found == pytest.approx({f"nmse_rank1_db_{q}": -20 for q in ("median", "p10", "p90")})
    assert quantiles("nmse", np.zeros(3))["nmse_db_median"] == -300
    assert quantiles("similarity", np.arange(11.0))["similarity_p90"] == 9


def test_verdict_is_plain() -> None:
    def table(model: float) -> dict[str, dict[str, float]]:
        return {"nmse": {"median": model}, "nmse_rank1": {"median": -9.0}, "nmse_rank2": {"median": -12.0}}

    names = ("nmse_rank1", "nmse_rank2")
    assert "rank-2 completion, which needs no training, does better" in verdict(table(-10.0), names)
    assert "3.00 dB better (median) than rank-2 completion" in verdict(table(-15.0), names)
    assert verdict(table(-10.0), ()) == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_status_renews_one_line_on_a_terminal_alone() -> None:
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        status = Status(True, stream)
        status.progress("one")
        status.progress("two")
        status.say("stays")
        status.close()
    assert plain.getvalue() == "one\ntwo\nstays\n"
    assert terminal.getvalue() == "one\r\x1b[Ktwo\r\x1b[Kstays\n"
    silent = io.StringIO()
    Status(False, silent).say("x")
    assert silent.getvalue() == ""
    assert clock(3725.4) == "1:02:05"
    assert clock(math.inf) == "-:--:--"


def test_unit_is_found_block_by_block() -> None:
    from wfm_cli.core.training.parallel import blocks

    assert len(blocks(ToyObjective())) == 4  # two of the encoder, two of the target
