"""Networks by name, by list, by guess; and what is said of weights that do not fit."""

import json

import pytest
import torch
from model_builders import LAYERS, STEPS, save_safetensors, spec_for, tiny_net
from torch import nn

from app.errors import UserError
from app.loaders.models import architectures, cifar_resnet
from app.loaders.models.cifar_resnet import BasicBlock, CifarResNet
from app.loaders.models.formats.safetensors import ModuleBackend, load
from app.loaders.models.layers import LAYERS as KNOWN
from app.loaders.models.layers import build_layers
from app.loaders.models.runtime import load_model
from app.loaders.models.sniff import NotAModel
from app.loaders.models.spec import ModelSpec
from app.loaders.models.weights import WeightsMismatch, strip_prefixes

CPU = torch.device("cpu")


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
def test_cifar_resnets_have_the_published_sizes(depth, parameters):
    model = CifarResNet(depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == depth


def test_option_a_shortcut_subsamples_and_pads():
    block = BasicBlock(4, 8, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 4, 6, 6)
    y = block(x)
    assert y.shape == (2, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y[:, :2].abs().max() == y[:, 6:].abs().max() == 0


@pytest.mark.parametrize(
    ("name", "shape"), [("cifar_resnet14", (14, 16)), ("cifar_resnet8w4", (8, 4)), ("resnet18", None)]
)
def test_names_of_the_family(name, shape):
    assert cifar_resnet.parse_name(name) == shape


def test_impossible_depth_is_explained():
    with pytest.raises(UserError, match="6n \\+ 2 layers"):
        architectures.build_named("cifar_resnet21", {})


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_resnet20", "cifar_resnet14w8"])
def test_cifar_resnets_are_recognised(name):
    state = architectures.build_named(name, {}).state_dict()
    assert architectures.guess(state) == (name,)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("torchvision:resnet18", None),
        ("torchvision:mobilenet_v2", None),
        ("torchvision:squeezenet1_1", None),
        ("timm:vit_tiny_patch16_224", None),
        ("timm:resnet18", "torchvision:resnet18"),
    ],
)
def test_library_architectures_take_the_outputs_of_the_weights(name, other):
    source, _, bare = name.partition(":")
    if source == "timm":
        import timm

        original = timm.create_model(bare, num_classes=7)
    else:
        import torchvision

        original = torchvision.models.get_model(bare, num_classes=7)
    state = original.state_dict()
    built = architectures.build_named(name, state)
    assert {n: t.shape for n, t in built.state_dict().items()} == {n: t.shape for n, t in state.items()}
    assert (other or name) in architectures.guess(state)


def test_unknown_names_get_close_ones():
    with pytest.raises(UserError, match="Did you mean resnet50"):
        architectures.build_named("torchvision:resnet5O", {})
    with pytest.raises(UserError, match="timm has no model"):
        architectures.build_named("resnot", {})
    with pytest.raises(UserError, match="No architecture source"):
        architectures.build_named("keras:resnet50", {})


def test_a_list_of_layers_is_the_same_network():
    net, listed = tiny_net(), build_layers(json.loads(json.dumps(LAYERS)))
    listed.load_state_dict(net.state_dict())
    x = torch.rand(3, 3, 8, 8)
    assert torch.equal(listed(x), net(x))


def test_a_residual_adds_its_branches():
    block = build_layers([{"residual": {"body": [{"identity": {}}, {"relu": {}}]}}])
    x = torch.randn(4, 5)
    assert torch.equal(block(x), x + x.relu())
    both = build_layers([{"residual": {"body": [{"identity": {}}], "shortcut": [{"tanh": {}}]}}])
    assert torch.equal(both(x), x + x.tanh())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "must be a list"),
        ("resnet", "must be a list"),
        ([{"conv2d": {"in_channels": 3}}], "Layer 0 \\(conv2d\\)"),
        ([{"relu": {}}, {"eval": {}}], "Layer 1 is 'eval'"),
        ([{"relu": {}, "tanh": {}}], "Layer 0 must be one name"),
        (["relu"], "Layer 0 must be one name"),
        ([{"relu": []}], "arguments of layer 0"),
        ([{"linear": {"in_features": -1, "out_features": 2}}], "Layer 0 \\(linear\\)"),
        ([{"residual": {}}], 'takes "body"'),
        ([{"relu": {}}] * 2001, "limit is 2000"),
    ],
)
def test_impossible_lists_name_the_layer(layers, words):
    with pytest.raises(UserError, match=words):
        build_layers(layers)


def test_every_known_layer_is_a_torch_module():
    assert all(issubclass(kind, nn.Module) for kind in KNOWN.values())


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model."])
def test_prefixes_of_wrappers_are_stripped(prefix):
    state = tiny_net().state_dict()
    assert set(strip_prefixes({prefix + name: tensor for name, tensor in state.items()})) == set(state)


def test_prefixes_stay_where_only_some_have_them():
    state = {"model.weight": torch.zeros(1), "head": torch.zeros(1)}
    assert strip_prefixes(state) == state


def test_a_mismatch_names_the_differences_and_what_would_fit(tmp_path):
    path = save_safetensors(tmp_path / "a", CifarResNet(20))
    spec = ModelSpec(format="safetensors", architecture="cifar_resnet32")
    with pytest.raises(WeightsMismatch, match=r"60 missing \(layer1\.3\.conv1\.weight.* fit cifar_resnet20\."):
        load(path, spec, CPU, torch.float32)


def test_a_wrong_shape_is_named(tmp_path):
    path = save_safetensors(tmp_path / "a", tiny_net())
    wider = [*LAYERS[:-1], {"linear": {"in_features": 5, "out_features": 4}}]
    with pytest.raises(WeightsMismatch, match=r"5\.weight is 3×5 and should be 4×5"):
        load(path, spec_for("safetensors", architecture=wider, classes=()), CPU, torch.float32)


def test_half_precision_weights_run_in_single(tmp_path):
    net = tiny_net()
    path = save_safetensors(tmp_path / "a", tiny_net().half())
    model = load_model(path, spec_for("safetensors"))
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(model.predict(x)[0], net(x), atol=1e-2)


def test_networks_that_flatten_with_view_run_in_plain_order():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)

        def forward(self, x):
            return self.linear(self.conv(x).view(-1, 256))

    torch.manual_seed(0)
    net, x = Viewing(), torch.rand(2, 3, 8, 8)
    expected = net(x).detach()
    backend = ModuleBackend(net, CPU, torch.float32)
    for _ in range(2):
        assert torch.allclose(backend.run(x)[0], expected, atol=1e-6)


def test_an_empty_or_damaged_file(tmp_path):
    empty = tmp_path / "empty"
    empty.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(NotAModel, match="no tensor"):
        load(empty, spec_for("safetensors"), CPU, torch.float32)


def test_counters_of_batch_norm_may_be_missing(tmp_path):
    from safetensors.torch import save_file

    state = {n: t for n, t in CifarResNet(8).state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "a")
    spec = ModelSpec(format="safetensors", architecture="cifar_resnet8", preprocessing=STEPS, classes=())
    scores, features = load_model(tmp_path / "a", spec).predict(torch.rand(2, 3, 8, 8))
    assert (scores.shape, features.shape) == ((2, 10), (2, 64))
