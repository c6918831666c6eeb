"""The whole road for volumes: made spheres and shells in noise are told apart, and every verb works on them."""

import itertools
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import hubel
from hubel import nets
from hubel.core import names
from hubel.fitting import Precision
from hubel.workflows import predict_files, training
from hubel.workflows.conclude import middle_slices


def spheres_and_shells(num, side=12, noise=1.0, seed=0):
    """Full spheres (0) and hollow ones (1) of equal sum, at a place drawn for each, in Gaussian noise."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(side),) * 3, indexing="ij"))
    y = rng.integers(0, 2, num)
    middles = rng.uniform(side / 2 - 1, side / 2, (num, 3, 1, 1, 1))
    radius = np.sqrt(((grid[None] - middles) ** 2).sum(1))
    full, shell = (radius < 4).astype(float), ((radius < 4) & (radius > 2.5)).astype(float)
    full *= shell.sum((1, 2, 3), keepdims=True) / full.sum((1, 2, 3), keepdims=True)
    x = np.where(y[:, None, None, None] == 1, shell, full) * 3 + noise * rng.normal(size=radius.shape)
    return x.astype("float32"), np.array(["sphere", "shell"])[y]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    x, y = spheres_and_shells(240)
    np.savez(folder / "made.npz", x=x, y=y)
    options = {"kind": "volumes", "symmetries": ["flip_depth", "rotate_cube"]}
    recipe = hubel.Recipe(epochs=6, seed=1, precision=Precision())
    run = hubel.fit(folder / "made.npz", recipe=recipe, options=options, out=folder / "run", quiet=True)
    return run, folder


def test_spheres_are_told_from_shells(fitted):
    run, _ = fitted
    assert run.about["net"]["name"] == "hubel.nets.compact"
    assert run.about["net"]["arguments"]["inputs"] == [1, 12, 12, 12]
    assert run.test["accuracy"]["value"] > 0.9
    x, y = spheres_and_shells(60, seed=5)
    prediction = run.predict(x)
    said = np.array(prediction.classes)[prediction.values]
    assert (said == y).mean() > 0.9


def test_a_finished_run_is_read_evaluated_and_predicts_files(fitted, tmp_path):
    run, _ = fitted
    again = hubel.open_run(run.folder)
    assert again.evaluate()["accuracy"].value == pytest.approx(run.test["accuracy"]["value"])
    x, y = spheres_and_shells(4, seed=6)
    np.save(tmp_path / "new.npy", x)
    answers = list(predict_files(again, [tmp_path / "new.npy"]))
    prediction = again.predict(x)
    assert [a["class"] for a in answers] == [prediction.classes[k] for k in prediction.values]
    np.savez(tmp_path / "other.npz", x=x, y=y)
    assert hubel.evaluate(again, tmp_path / "other.npz")["accuracy"].count == 4


def test_the_report_shows_middle_planes(fitted):
    run, _ = fitted
    page = (run.folder / "report.html").read_text("utf-8")
    assert "1 × 12 × 12 × 12 (channels × depth × rows × columns)" in page
    assert "Middle planes of 12 × 12 × 12 voxels (rows × columns, depth × columns, depth × rows)" in page
    assert "flip_depth" in page or "flip depth" in page


def test_middle_planes_are_those_of_the_volume():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6, 7)).astype("float32")
    shown = middle_slices(x)
    assert shown.shape == (2, 3, 6, 7 + 7 + 6 + 4)
    assert np.array_equal(shown[:, :, :, :7], x[:, :, 2])
    assert np.array_equal(shown[:, :, :5, 9:16], x[:, :, :, 3])
    assert np.array_equal(shown[:, :, :5, 18:], x[:, :, :, :, 3])
    assert np.isnan(shown[:, :, :, 7:9]).all()
    assert np.isnan(shown[:, :, 5:, 9:]).all()


@pytest.mark.parametrize("sides", [(4, 4, 4), (5, 9, 30), (12, 12, 12), (26, 24, 70)])
def test_the_network_takes_volumes_of_any_proportion(sides):
    net = nets.compact(8, inputs=(2, *sides), outputs=3)
    scores = net(torch.randn(2, 2, *sides))
    assert scores.shape == (2, 3)
    scores.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    last = Precision(layout="channels_last").place(
        nets.compact(8, inputs=(2, *sides), outputs=3), torch.device("cpu")
    )
    last.load_state_dict(net.state_dict())
    assert last.first.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 2, *sides)
    with torch.no_grad():
        arranged = Precision(layout="channels_last").arrange(x)
        torch.testing.assert_close(last.eval()(arranged), net.eval()(x), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(net.features(x).amax(), net.features(x).max())
    with pytest.raises(ValueError, match=r"compact expects volumes \[N, 2, .*received \[2, 2, 3, 3\]"):
        net(torch.zeros(2, 2, 3, 3))


def test_the_network_refuses_volumes_that_are_too_small():
    with pytest.raises(ValueError, match="at least 4 voxels a side; received 3×8×8"):
        nets.compact(inputs=(1, 3, 8, 8))
    with pytest.raises(ValueError, match="channels, depth, height, width"):
        nets.compact(inputs=(1, 0, 8, 8))
    net = nets.compact(16, inputs=(1, 8, 8, 8), outputs=2)
    assert names.find(net.made_by.name)(**net.made_by.arguments).made_by == net.made_by


def test_resuming_gives_the_same_weights(tmp_path, monkeypatch):
    x, y = spheres_and_shells(60, side=8)
    np.savez(tmp_path / "made.npz", x=x, y=y)
    options = {"kind": "volumes", "symmetries": ["rotate_cube", "shift"]}
    recipe = hubel.Recipe(epochs=3, seed=2, precision=Precision(layout="channels_last"))

    def fit(name):
        return hubel.fit(
            tmp_path / "made.npz", recipe=recipe, options=options, out=tmp_path / name, quiet=True
        )

    whole = fit("whole")
    with monkeypatch.context() as stopped:
        stopped.setattr(training, "interruptible", stops_after(3))
        assert fit("part").status == "interrupted"
    done = hubel.resume(tmp_path / "part", quiet=True)
    assert done.status == "finished"
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, done.net.state_dict()[name]), name


def stops_after(looks):
    @contextmanager
    def interruptible():
        count = itertools.count()
        yield lambda: next(count) >= looks

    return interruptible


def test_the_estimator_takes_volumes():
    from hubel.sklearn import NetClassifier

    x, y = spheres_and_shells(80, side=8, noise=0.3)
    model = NetClassifier(epochs=6, random_state=0).fit(x[:60, None], y[:60])
    assert model.score(x[60:, None], y[60:]) > 0.7
