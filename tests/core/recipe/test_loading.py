"""Recipes: merging, overrides and the exact place of every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wfm_cli.core.recipe.loading import STEPS, load_any, load_recipe, parse_recipe, to_dict
from wfm_cli.core.recipe.locate import resolve, shipped
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.recipe.schema import recipe_schema, schema_text
from wfm_cli.core.recipe.yaml_source import merge
from wfm_cli.errors import RecipeError

GOOD = "step: pretrain\ndata: {store: x.zarr}\ntrain:\n  steps: 10\n  lr: 1e-3\n"


def write(folder: Path, text: str, name: str = "r.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def failure(path: Path, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, PretrainRecipe, overrides)
    return caught.value


def test_yaml_1_2_numbers_and_the_default_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD, "mine.yaml"), PretrainRecipe)
    assert recipe.train.lr == 0.001
    assert recipe.name == "mine"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model:\n  layrs: 3\n", "r.yaml:7:3: model.layrs: unknown key; did you mean 'layers'?"),
        ("model:\n  layers: 99\n", "r.yaml:7:3: model.layers: Input should be less than or equal to 64 (got 99)"),
        ("sed: 1\n", "r.yaml:6:1: sed: unknown key; did you mean 'seed'?"),
        ("masks:\n  ratio: [1]\n", "r.yaml:7:3: masks.ratio:"),
        ("model: {kind: lwn}\n", "r.yaml:6:9: model.kind: unknown kind (got 'lwn'); did you mean 'lwm'? Known: lwm"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_column(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in failure(write(tmp_path, GOOD + line)).message


def test_every_mistake_is_listed(tmp_path: Path) -> None:
    error = failure(write(tmp_path, GOOD + "bogus: 1\nmodel: {layrs: 2}\n"), "train.clip=-1")
    assert len(error.message.splitlines()) == 3
    assert "--set train.clip=-1: train.clip" in error.message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "data: this key is required" in failure(write(tmp_path, "step: pretrain\ntrain: {steps: 3}\n")).message


def test_steps_and_epochs_exclude_each_other(tmp_path: Path) -> None:
    assert "either epochs or steps" in failure(write(tmp_path, GOOD), "train.epochs=2").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "r.yaml:2:1: found duplicate key"),
        ("a: [1\n", "r.yaml:"),
        ("- 1\n", "a recipe is a map"),
        ("", "data: this key is required"),
    ],
)
def test_broken_yaml_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    message = failure(write(tmp_path, text)).message
    assert expected in message


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert "cannot be read as text" in failure(path).message


def test_extends_merges_maps_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "objective: {replace: [0.8, 0.1, 0.1]}\n", "base.yaml")
    child = write(tmp_path, "step: pretrain\nextends: base.yaml\ntrain: {lr: 2e-3}\nobjective: {replace: [1, 0, 0]}\n")
    recipe = load_recipe(child, PretrainRecipe, ["train.batch_size=7"])
    assert (recipe.train.lr, recipe.train.steps, recipe.train.batch_size) == (0.002, 10, 7)
    assert recipe.objective.replace == (1.0, 0.0, 0.0)


def test_a_mistake_in_the_parent_is_placed_in_the_parent(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "bogus: 1\n", "base.yaml")
    child = write(tmp_path, "step: pretrain\nextends: base.yaml\n")
    assert "base.yaml:6:1: bogus" in failure(child).message


def test_extends_cycles_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    assert "a.yaml -> b.yaml -> a.yaml" in failure(tmp_path / "a.yaml").message


def test_a_changed_kind_starts_the_block_afresh() -> None:
    assert merge({"m": {"kind": "a", "x": 1}}, {"m": {"kind": "b"}}) == {"m": {"kind": "b"}}
    assert merge({"m": {"kind": "a", "x": 1}}, {"m": {"y": 2}}) == {"m": {"kind": "a", "x": 1, "y": 2}}


@pytest.mark.parametrize("expression", ["train.lr", "=1", "train.lr.x=1", "train.lr=[1"])
def test_a_bad_override_is_refused(tmp_path: Path, expression: str) -> None:
    assert f"--set {expression}" in failure(write(tmp_path, GOOD), expression).message


def test_a_list_item_can_be_overridden(tmp_path: Path) -> None:
    path = write(tmp_path, "step: prepare\nsource: {kind: deepmimo, scenarios: [a, b]}\n")
    assert load_recipe(path, PrepareRecipe, ["source.scenarios.1=c"]).source.scenarios == ("a", "c")


def test_the_wrong_verb_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "step: prepare\nsource: {kind: deepmimo, scenarios: [a]}\n")
    error = failure(path)
    assert "r.yaml:1:1: step: this is a prepare recipe, expected pretrain" in error.message
    assert "wfm prepare" in str(error.hint)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        resolve("pretrain/lwm-v2")
    assert "pretrain/lwm-v1" in str(caught.value.hint)


def test_every_shipped_recipe_is_valid_described_and_round_trips() -> None:
    recipes = shipped()
    assert {name.split("/")[0] for name in recipes} == set(STEPS)
    for name, path in recipes.items():
        recipe = load_any(path)
        assert recipe.description, name
        assert name.startswith(f"{to_dict(recipe)['step']}/"), name
        again = parse_recipe(json.loads(json.dumps(to_dict(recipe))), type(recipe))
        assert again == recipe, name


def test_the_committed_schema_is_the_current_one(root: Path) -> None:
    assert (root / "recipes" / "schema.json").read_text() == schema_text(), "run `make schema`"


def test_the_schema_accepts_the_shipped_recipes_and_refuses_a_typo() -> None:
    from jsonschema import Draft202012Validator
    from ruamel.yaml import YAML

    validator = Draft202012Validator(recipe_schema())
    for path in shipped().values():
        assert list(validator.iter_errors(YAML(typ="safe").load(path.read_text()))) == [], path
    assert list(validator.iter_errors({"step": "pretrain", "extends": "x", "sed": 1}))


def test_a_source_of_another_package_is_checked_by_its_own_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    from tests.fakes.stores import FakeSource
    from wfm_cli.core.recipe import loading

    point = EntryPoint("fake", "tests.fakes.stores:FakeBuilder", "wfm.datasets")
    monkeypatch.setattr(loading, "entry_points", lambda group: [point])
    path = write(tmp_path, "step: prepare\nsource: {kind: fake, samples: 12}\n")
    recipe = load_recipe(path, PrepareRecipe)
    assert isinstance(recipe, PrepareRecipe)
    assert isinstance(recipe.source, FakeSource)
    assert to_dict(recipe)["source"]["samples"] == 12
    with pytest.raises(RecipeError, match=r"r\.yaml:2:22: source\.sampels: unknown key; did you mean 'samples'"):
        load_recipe(write(tmp_path, "step: prepare\nsource: {kind: fake, sampels: 12}\n"), PrepareRecipe)
