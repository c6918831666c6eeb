"""Weights by "hf:OWNER/REPO", from a server on this machine: fetched on request only, checked ever after, never unpickled."""

import hashlib
import http.server
import json
import threading

import pytest
import torch
from safetensors.torch import save_file

from hubel import nets
from hubel.core import files
from hubel.nets.hub import from_hub


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server with a repository made/small: weights of ResNet-20 and a configuration in timm's words; its folder and what was asked."""
    torch.manual_seed(0)
    net = nets.resnet(20).eval()
    folder = tmp_path / "server" / "made" / "small" / "resolve" / "main"
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    about = {
        "pretrained_cfg": {
            "input_size": [3, 40, 40],
            "crop_pct": 0.9,
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
        },
        "label_names": [f"kind {k}" for k in range(10)],
    }
    (folder / "config.json").write_text(json.dumps(about))
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Quiet(*args, directory=str(tmp_path / "server"))
    )
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(files, "user_cache", lambda: tmp_path / "cache")
    yield net, folder, server.asked
    server.shutdown()
    server.server_close()


def scores(net):
    with torch.no_grad():
        return net.eval()(torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32))


def test_nothing_is_fetched_unasked(hub):
    with pytest.raises(ValueError, match=r"hf:made/small are not on this machine yet: say download=True"):
        nets.resnet(20, weights="hf:made/small")
    assert hub[2] == []


def test_fetched_once_with_preprocessing_and_labels_and_used_again_without_the_network(hub):
    net, _, asked = hub
    again = nets.resnet(20, weights="hf:made/small", download=True)
    assert torch.equal(scores(again), scores(net))
    published = again.published
    assert published.file == "hf:made/small/model.safetensors"
    assert (published.size, published.crop) == ((40, 40), 0.9)
    assert (published.mean, published.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert published.classes == tuple(f"kind {k}" for k in range(10))
    assert "weights" not in again.made_by.arguments
    assert "download" not in again.made_by.arguments
    before = len(asked)
    nets.resnet(20, weights="hf:made/small")
    nets.resnet(20, weights="hf:made/small/model.safetensors", download=True)
    assert len(asked) == before


def test_a_pinned_file_is_taken_only_if_it_is_that_file(hub, tmp_path):
    _, folder, _ = hub
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    wrong = "0" * 64
    with pytest.raises(ConnectionError, match=rf"content has SHA-256 {right}, expected {wrong}"):
        nets.resnet(20, weights=f"hf:made/small#sha256={wrong}", download=True)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    nets.resnet(20, weights=f"hf:made/small#sha256={right}", download=True)
    with pytest.raises(ValueError, match=r"does not have the SHA-256 that was asked for"):
        nets.resnet(20, weights=f"hf:made/small#sha256={wrong}")


def test_a_file_that_has_changed_since_is_refused(hub, tmp_path):
    nets.resnet(20, weights="hf:made/small", download=True)
    (kept,) = (tmp_path / "cache").rglob("model.safetensors")
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(ValueError, match=r"SHA-256 that was recorded when it was downloaded"):
        nets.resnet(20, weights="hf:made/small")


def test_the_older_format_is_read_where_it_is_all_there_is(hub):
    net, folder, _ = hub
    (folder / "model.safetensors").unlink()
    (folder / "config.json").unlink()
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    again = nets.resnet(20, weights="hf:made/small", download=True)
    assert torch.equal(scores(again), scores(net))
    assert again.published.classes is None


def test_what_is_not_there_is_said(hub):
    with pytest.raises(ValueError, match=r"made/nothing has no model\.safetensors or pytorch_model\.bin"):
        nets.resnet(20, weights="hf:made/nothing", download=True)
    with pytest.raises(ValueError, match=r"made/small has no other\.pth"):
        nets.resnet(20, weights="hf:made/small/other.pth", download=True)


def test_code_in_a_file_is_not_run(hub, capsys):
    class Harmful:
        def __reduce__(self):
            return print, ("this must never be printed",)

    _, folder, _ = hub
    torch.save({"conv1.weight": Harmful()}, folder / "harmful.pth")
    with pytest.raises(ValueError, match=r"harmful\.pth can not be read as weights"):
        nets.resnet(20, weights="hf:made/small/harmful.pth", download=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "weights",
    [
        "hf:",
        "hf:resnet18",
        "hf:a/b/c.txt",
        "hf:../b",
        "hf:a/b/../../c.pth",
        "hf:a/b#sha256=12",
        "hf:a/b?x=1",
        "hf:a b/c",
    ],
)
def test_other_forms_are_refused(hub, weights):
    with pytest.raises(ValueError, match=r"is not understood; expected hf:OWNER/REPO"):
        nets.resnet(20, weights=weights, download=True)
    assert hub[2] == []


def test_the_words_of_transformers_are_known_and_nonsense_is_passed_over(hub):
    _, folder, _ = hub
    labels = {str(k): f"animal {k}" for k in (2, 10, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
    (folder / "config.json").write_text(json.dumps({"id2label": labels}))
    pictures = {
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    about = from_hub("hf:made/small", download=True).about
    assert about["labels"][:3] == ("animal 0", "animal 1", "animal 2")
    assert about["labels"][10] == "animal 10"
    assert about["size"] == (224, 224)
    assert about["crop"] == 0.875
    assert about["mean"] == (0.5, 0.5, 0.5)
    for nonsense in (
        "[1, 2",
        "[]",
        '{"pretrained_cfg": 3, "id2label": ["a"]}',
        '{"pretrained_cfg": {"mean": ["x"], "input_size": [0]}}',
    ):
        (folder / "config.json").write_text(nonsense)
        (folder / "preprocessor_config.json").write_text(nonsense)
        for path in (files.user_cache() / "weights").rglob("*"):
            if path.is_file():
                path.unlink()
        assert from_hub("hf:made/small", download=True).about == {}
