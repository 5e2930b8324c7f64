"""MobileNetV3-Small: its published sizes, weights under foreign names, and what batches must not change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wfm_cli.core.evaluation.forecast.mobilenet import FEATURES, MobileNetV3Small, check_weights, load
from wfm_cli.core.models.counting import operations, parameters
from wfm_cli.errors import InputError

TORCHVISION = {
    "features.0.0.weight": (16, 3, 3, 3),
    "features.1.block.0.0.weight": (16, 1, 3, 3),  # the first row has no expansion
    "features.1.block.1.fc1.weight": (8, 16, 1, 1),
    "features.1.block.2.1.running_var": (16,),
    "features.2.block.0.0.weight": (72, 16, 1, 1),
    "features.2.block.2.0.weight": (24, 72, 1, 1),  # and the second no excitation
    "features.4.block.1.0.weight": (96, 1, 5, 5),
    "features.4.block.2.fc2.bias": (96,),
    "features.8.block.2.fc1.weight": (40, 144, 1, 1),
    "features.12.0.weight": (576, 96, 1, 1),
    "features.12.1.bias": (576,),
}
"""Names and shapes of torchvision's file, as listed by the package."""
TIMM = {
    "conv_stem.weight": (16, 3, 3, 3),
    "bn1.bias": (16,),
    "blocks.0.0.conv_dw.weight": (16, 1, 3, 3),
    "blocks.0.0.se.conv_reduce.weight": (8, 16, 1, 1),
    "blocks.0.0.conv_pw.weight": (16, 16, 1, 1),
    "blocks.1.0.conv_pw.weight": (72, 16, 1, 1),
    "blocks.1.0.conv_pwl.weight": (24, 72, 1, 1),
    "blocks.1.0.bn3.bias": (24,),
    "blocks.2.0.se.conv_expand.weight": (96, 24, 1, 1),
    "blocks.2.0.bn2.running_mean": (96,),
    "blocks.4.2.conv_pw.weight": (576, 96, 1, 1),
    "blocks.5.0.conv.weight": (576, 96, 1, 1),
    "blocks.5.0.bn1.bias": (576,),
}


def fake(of_timm: bool) -> dict[str, torch.Tensor]:
    """A file's tensors, every one of other values, in the order of the network's layers."""
    torch.manual_seed(3)
    tensors = {}
    for name, value in MobileNetV3Small().state_dict().items():
        if "num_batches" not in name:
            tensors[(timm if of_timm else torchvision)(name)] = torch.rand(value.shape) * 0.1 + 0.05
    return {**tensors, "classifier.0.weight": torch.zeros(1024, 576)}


def torchvision(name: str) -> str:
    """Written the other way round than the loader: from the layers that a row has to the number of each."""
    name = name.replace("stem.conv", "features.0.0").replace("stem.norm", "features.0.1")
    name = name.replace("last.conv", "features.12.0").replace("last.norm", "features.12.1")
    if found := re.match(r"rows\.(\d+)\.(\w+)\.(\w+)\.(\w+)", name):
        row, part, layer, key = int(found[1]), *found.groups()[1:]
        parts = ["expand", "depthwise", "excite", "project"]
        if row == 0:
            parts.remove("expand")
        if row in (1, 2):
            parts.remove("excite")
        layer = {"conv": "0", "norm": "1", "reduce": "fc1", "widen": "fc2"}[layer]
        return f"features.{row + 1}.block.{parts.index(part)}.{layer}.{key}"
    return name


def timm(name: str) -> str:
    name = name.replace("stem.conv", "conv_stem").replace("stem.norm", "bn1")
    name = name.replace("last.conv", "blocks.5.0.conv").replace("last.norm", "blocks.5.0.bn1")
    if found := re.match(r"rows\.(\d+)\.(\w+)\.(\w+)\.(\w+)", name):
        row, part, layer, key = int(found[1]), *found.groups()[1:]
        places = ["0.0", "1.0", "1.1", "2.0", "2.1", "2.2", "3.0", "3.1", "4.0", "4.1", "4.2"]
        first = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
        later = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
        if part == "excite":
            their = {"reduce": "se.conv_reduce", "widen": "se.conv_expand"}[layer]
        else:
            their = (later if row else first)[part][layer == "norm"]
        return f"blocks.{places[row]}.{their}.{key}"
    return name


def test_sizes_are_those_of_the_paper():
    network = MobileNetV3Small()
    assert parameters(network) == 927_008
    assert operations(network, torch.zeros(1, 3, 224, 224)) == 121_670_640
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, FEATURES)


def test_multiply_adds_are_those_of_the_paper():
    """56 million with the classifier, says Table 4; convolutions alone, without norms."""
    total = 0

    def count(layer, given, result):
        nonlocal total
        total += result.numel() * layer.weight[0].numel()

    network = MobileNetV3Small()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 224, 224))
    assert (total + 576 * 1024 + 1024 * 1000) / 1e6 == pytest.approx(56, abs=0.6)


@pytest.mark.parametrize(("of_timm", "known", "eps"), [(False, TORCHVISION, 1e-3), (True, TIMM, 1e-5)])
def test_weights_of_both_packages_are_read(of_timm, known, eps, tmp_path: Path):
    tensors = fake(of_timm)
    assert {name: tuple(tensors[name].shape) for name in known} == known
    one, two = MobileNetV3Small(), MobileNetV3Small()
    torch.save(tensors, tmp_path / "weights.pth")
    save_file(tensors, tmp_path / "weights.safetensors")
    load(one, str(tmp_path / "weights.pth"))
    load(two, str(tmp_path / "weights.safetensors"))
    rename = timm if of_timm else torchvision
    for name, value in one.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, tensors[rename(name)])
            assert torch.equal(value, two.state_dict()[name])
    assert {module.eps for module in one.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {eps}


def test_what_is_no_such_file_is_said(tmp_path: Path):
    check_weights("random")
    with pytest.raises(InputError, match=r"probe\.forecast\.vision_weights: there is no file"):
        check_weights(str(tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read"):
        check_weights(str(tmp_path / "text.pth"))
    tensors = fake(of_timm=False)
    del tensors["features.12.0.weight"]
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"1 of 206 tensors .* features\.12\.0\.weight"):
        check_weights(str(tmp_path / "part.pth"))


def test_fresh_weights_settle_on_pictures_and_batches_do_not_matter():
    torch.manual_seed(0)
    network, pictures = MobileNetV3Small(), 3 * torch.randn(16, 3, 32, 32) + 1
    network.settle(pictures)
    network.train()
    made = network(pictures).detach()
    assert 0.05 < float(made.std()) < 20
    torch.testing.assert_close(network(pictures[:1]).detach(), made[:1], atol=1e-4, rtol=1e-3)
    assert not network.training
