"""Runs the speed benchmarks and prints one table: `python tests/speed/run.py [NAME ...]`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Run the named benchmarks (all by default); the exit code is 1 when a goal is missed."""
    sys.path.insert(0, str(HERE))
    measure = importlib.import_module("measure")
    wanted = names or sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    missed = 0
    for name in wanted:
        print(f"\n{name}", flush=True)
        rows: list[measure.Row] = importlib.import_module(f"bench_{name}").main()
        for row in rows:
            goal = "" if row.goal is None else f"goal {'>=' if row.at_least else '<='} {row.goal:g}"
            verdict = {None: "", True: "ok", False: "MISSED"}[row.met]
            missed += row.met is False
            print(f"  {row.name:<64} {row.value:>12.4g} {row.unit:<6} {goal:<14} {verdict:<7} {row.note}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
