"""Examples as their own target, the whole road: fitted, scored, reported, opened again, encoded, sampled, resumed, refused."""

import csv
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import quick, same_weights
from torch import nn

import hubel
from hubel import nets, objectives, workflows
from hubel.core.errors import ContractError
from hubel.data.augmentation import Mixup
from hubel.fitting import AdamW, Checkpoints, EarlyStopping
from hubel.show.report import report as page_of


def recipe(epochs=2, **changes):
    return quick(**{"epochs": epochs, "optimizer": AdamW(), "batch_size": 32} | changes)


def blobs(num=160, seed=0):
    """Small pictures of one bright spot, left or right."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, num)
    centre = np.stack([rng.uniform(3, 6, num), 2 + 5 * side + rng.uniform(0, 1, num)], 1)
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10), indexing="ij"), -1)
    square = ((grid[None] - centre[:, None, None]) ** 2).sum(-1)
    return (200 * np.exp(-square / 4) + rng.normal(20, 4, square.shape)).clip(0, 255).astype("uint8"), side


def vectors(num=200, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num, 2)) @ rng.normal(size=(2, 6)) + 0.05 * rng.normal(size=(num, 6))).astype(
        "float32"
    )


class Page(HTMLParser):
    def __init__(self, content):
        super().__init__()
        self.text = ""
        self.feed(content)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A convolutional autoencoder of pictures with labels."""
    x, side = blobs()
    folder = tmp_path_factory.mktemp("itself") / "run"
    options = {"labels": np.where(side, "right", "left").tolist(), "name": "blobs"}
    return hubel.fit(x, "self", options=options, recipe=recipe(epochs=12), out=folder, quiet=True)


def test_the_default_for_pictures_is_convolutional_and_says_why(run):
    assert run.about["net"]["name"] == "hubel.nets.conv_autoencoder"
    assert run.about["net"]["arguments"]["latent"] == 32
    assert (
        run.about["reasons"]["net"]
        == "pictures: convolutions down to a code and back, 32 values for 100 (--latent)"
    )
    assert isinstance(run.objective, objectives.Reconstruction)
    assert run.objective.scaling == run.scaling
    assert run.recipe.augmentation == ()


def test_scores_in_stored_units_against_what_needs_no_network(run):
    x, _ = blobs()
    given_back = run.predict(x[run.split["test"]][:, None]).values
    errors = given_back - x[run.split["test"]][:, None]
    assert run.test["rmse"]["value"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert run.test["rmse"]["low"] < run.test["rmse"]["value"] < run.test["rmse"]["high"]
    mean = run.about["baselines"]["mean of the training examples"]["rmse"]
    train = x[run.split["train"]].astype(float).mean(0)
    assert mean == pytest.approx(np.sqrt(((x[run.split["test"]] - train) ** 2).mean()), rel=1e-3)
    assert run.test["rmse"]["value"] < 0.6 * mean
    assert list(run.test)[:3] == ["rmse", "explained_variance", "psnr"]
    assert run.curves[0]["loss"] > run.curves[-1]["loss"]
    assert run.about["expected_initial_loss"] == pytest.approx(1, abs=0.05)


def test_principal_components_beside_it(tmp_path):
    from sklearn.decomposition import PCA

    x = vectors()
    run = hubel.fit(
        x, "self", net=nets.autoencoder(2, inputs=6), recipe=recipe(), out=tmp_path / "run", quiet=True
    )
    train, test = ((x[run.split[part]] - run.scaling.mean) / run.scaling.std for part in ("train", "test"))
    pca = PCA(2).fit(train)
    error = (pca.inverse_transform(pca.transform(test)) - test) * run.scaling.std
    expected = np.sqrt((error**2).mean(0)).mean()
    assert run.about["baselines"]["2 principal components"]["rmse"] == pytest.approx(expected, rel=1e-3)


def test_the_run_folder_gives_everything_back(run):
    x, _ = blobs()
    again = hubel.open_run(run.folder)
    assert again.objective == run.objective
    codes = hubel.encode(again, x[:5])
    assert codes.shape == (5, 32)
    with np.load(run.folder / "predictions.npz", allow_pickle=False) as stored:
        rows = run.split["test"][stored["code_rows"]]
        np.testing.assert_allclose(hubel.encode(again, x[rows]), stored["codes"], rtol=1e-4, atol=1e-4)
        assert stored["shown_examples"].shape == stored["shown_given_back"].shape
        worst = stored["surprise"][stored["worst_rows"]]
        assert (np.diff(worst) <= 0).all()
        assert worst[0] == stored["surprise"].max()
        assert set(stored["labels"].tolist()) == {"left", "right"}
    scores = again.evaluate(x, "self")
    assert scores["rmse"].count == 160
    assert again.evaluate(x, np.zeros(160, int) + np.arange(160) % 2)["rmse"].value == scores["rmse"].value


def test_the_page(run):
    text = Page(page_of(run.folder)).text
    for said in (
        "What it gives back",
        "The map of the codes",
        "first principal component of 32 code values",
        "The strangest examples",
        "root mean squared error of the reconstruction",
        "32 principal components",
        "mean of the training examples",
        "left",
        "right",
    ):
        assert said in text, said
    assert "New examples" not in text
    assert "not recorded" not in text


def test_a_table_gets_a_dense_network(tmp_path):
    run = hubel.fit(vectors(), "self", recipe=recipe(), out=tmp_path / "run", quiet=True)
    assert run.about["net"]["name"] == "hubel.nets.autoencoder"
    assert run.about["net"]["arguments"]["latent"] == 3
    assert "no pictures: dense layers" in run.about["reasons"]["net"]
    assert "The map of the codes" in page_of(run.folder)


GENERATIVE = {
    "variational_autoencoder": (objectives.Variational, "elbo"),
    "dcgan": (objectives.Adversarial, "called_real"),
    "realnvp": (objectives.LogLikelihood, "log_likelihood"),
}


@pytest.mark.parametrize("name", GENERATIVE)
def test_generative_networks_bring_their_question(name, tmp_path):
    x, _ = blobs()
    kind, score = GENERATIVE[name]
    run = hubel.fit(x, "self", net=getattr(nets, name), recipe=recipe(), out=tmp_path / "run", quiet=True)
    assert type(run.objective) is kind
    assert {score, "frechet_distance", "frechet_of_halves"} <= set(run.test)
    samples = hubel.sample(run, 5, seed=2)
    assert samples.shape == (5, 1, 10, 10)
    assert samples.dtype == np.uint8
    assert np.array_equal(samples, hubel.sample(hubel.open_run(run.folder), 5, seed=2))
    assert not np.array_equal(samples, hubel.sample(run, 5, seed=3))
    assert "New examples, made by the network" in page_of(run.folder)
    assert run.evaluate(x, "self")[score].count == 160
    assert len(run.predict(x[:3]).values) == 3


@pytest.mark.parametrize(
    "objective", [objectives.Variational(beta=0.5), objectives.LogLikelihood(), objectives.Adversarial()]
)
def test_a_question_brings_its_network(objective, tmp_path):
    x, _ = blobs(80)
    run = hubel.fit(x, "self", objective=objective, recipe=recipe(1), out=tmp_path / "run", quiet=True)
    assert GENERATIVE[run.about["net"]["name"].rpartition(".")[2]][0] is type(objective)
    assert run.about["reasons"]["net"]


def test_a_density_learns_a_bent_distribution(tmp_path):
    """A banana: at the end the likelihood is above that of the Gaussian with the same covariance."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=1000)
    x = np.stack([one, one**2 + 0.2 * rng.normal(size=1000)], 1).astype("float32")
    net = nets.realnvp(4, (32,), inputs=2)
    run = hubel.fit(
        x,
        "self",
        net=net,
        recipe=recipe(16, optimizer=AdamW(learning_rate=5e-3)),
        out=tmp_path / "run",
        quiet=True,
    )
    test = x[run.split["test"]]
    from scipy.stats import multivariate_normal

    gaussian = multivariate_normal(test.mean(0), np.cov(test.T)).logpdf(test).mean()
    assert run.test["log_likelihood"]["low"] > gaussian + 0.3


@pytest.mark.parametrize("name", ["variational_autoencoder", "dcgan"])
def test_killed_and_resumed_it_ends_with_the_same_bits(name, tmp_path, monkeypatch):
    x, _ = blobs(64)

    def fit(out, **more):
        net = getattr(nets, name)
        return hubel.fit(x, "self", net=net, recipe=recipe(3), out=out, quiet=True, **more)

    whole = fit(tmp_path / "whole")
    from hubel.workflows.training import Training

    plain = Training._evaluate
    monkeypatch.setattr(
        Training,
        "_evaluate",
        lambda self, loss: (
            (_ for _ in ()).throw(KeyboardInterrupt) if self.position.epoch == 2 else plain(self, loss)
        ),
    )
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", checkpoint_seconds=0.0)
    monkeypatch.undo()
    assert Checkpoints(tmp_path / "cut").has("state")
    resumed = hubel.resume(tmp_path / "cut", data=x, y="self", quiet=True)
    assert resumed.status == "finished"
    assert same_weights(whole, resumed)


def test_denoising_and_the_binary_loss_go_the_whole_road(tmp_path):
    x, _ = blobs(80)
    for number, objective in enumerate(
        (objectives.Reconstruction(noise=0.5), objectives.Reconstruction(loss="binary", hidden=0.2))
    ):
        run = hubel.fit(
            x, "self", objective=objective, recipe=recipe(1), out=tmp_path / str(number), quiet=True
        )
        assert run.objective.noise == objective.noise
        assert run.predict(x[:2]).values.shape == (2, 1, 10, 10)
    assert 0 <= run.predict(x).values.min() <= run.predict(x).values.max() <= 255


def test_like_takes_the_question_with_the_scaling_of_the_new_data(run, tmp_path):
    x, _ = blobs(seed=5)
    again = hubel.fit(x // 2, "self", like=run, out=tmp_path / "like", quiet=True)
    assert again.recipe == run.recipe
    assert again.objective.scaling == again.scaling != run.scaling


def test_a_network_of_the_users_own(tmp_path):
    x = vectors()
    net = nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6))
    run = hubel.fit(x, "self", net=net, recipe=recipe(), out=tmp_path / "run", quiet=True)
    assert isinstance(run.objective, objectives.Reconstruction)
    assert run.predict(x[:3]).values.shape == (3, 6)
    with pytest.raises(ValueError, match="has no code of an example"):
        hubel.encode(run, x)


def test_groups_and_weights_are_honoured(tmp_path):
    x = vectors(90)
    groups = np.arange(90) // 3
    run = hubel.fit(x, "self", groups=groups, recipe=recipe(1), out=tmp_path / "run", quiet=True)
    assert set(groups[run.split["train"]]).isdisjoint(groups[run.split["test"]])
    assert "groups" in run.test["rmse"]["method"]


REFUSED = {
    "label smoothing": (
        {"objective": objectives.CrossEntropy(2, label_smoothing=0.1)},
        ContractError,
        "compares with labels .*label smoothing.* are their own target",
    ),
    "mixup": (
        {"recipe": recipe(augmentation=(Mixup(),))},
        ContractError,
        "mixup blends the labels of two examples.*blend of two examples is no example",
    ),
    "early stopping of adversaries": (
        {"objective": objectives.Adversarial(), "recipe": recipe(early_stopping=EarlyStopping())},
        ContractError,
        "does not say how good the samples are",
    ),
    "a code for variations": (
        {"net": nets.conv_autoencoder, "objective": objectives.Variational()},
        ContractError,
        "has 0 Gaussian codes",
    ),
    "a classifier": (
        {"net": lambda inputs, outputs: nets.mlp((4,), inputs=inputs, outputs=3)},
        ContractError,
        r"expected \(32, 1, 10, 10\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_with_the_reason(case, tmp_path):
    arguments, kind, match = REFUSED[case]
    x, _ = blobs(60)
    with pytest.raises(kind, match=match):
        hubel.fit(x, "self", **({"recipe": recipe()} | arguments), out=tmp_path / "run", quiet=True)


def test_other_refusals(run, tmp_path):
    x, side = blobs(60)
    with pytest.raises(ContractError, match="has targets: say so with --target self"):
        hubel.fit(x, side, objective=objectives.Reconstruction(), out=tmp_path / "a", quiet=True)
    with pytest.raises(ValueError, match=r"outputs must be .*\(100\), or be left out; received 2"):
        hubel.fit(x, side, net=nets.dcgan, out=tmp_path / "b", quiet=True)
    with pytest.raises(ContractError, match="are for pictures of 8×8"):
        hubel.fit(vectors(), "self", objective=objectives.Adversarial(), out=tmp_path / "c", quiet=True)
    with pytest.raises(
        ValueError, match=r"makes no new examples: a plain autoencoder has codes, but no distribution"
    ):
        hubel.sample(run, 3)
    series = hubel.data.Dataset(
        inputs=np.zeros((4, 3, 1), np.float32), targets=np.zeros((4, 1)), lengths=np.array([1, 2, 3, 3])
    ).as_its_own_target()
    with pytest.raises(ContractError, match="series of different lengths"):
        hubel.fit(series, out=tmp_path / "d", quiet=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    x, side = blobs(60)
    for k, (picture, right) in enumerate(zip(x, side, strict=True)):
        (folder / "photos" / ("right" if right else "left")).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / "photos" / ("right" if right else "left") / f"{k}.png")
    return folder


class TestCommands:
    def command(self, *arguments):
        import sys

        from hubel.cli.main import main

        before, sys.argv = sys.argv, ["hubel", *map(str, arguments)]
        try:
            main()
        except SystemExit as leaving:
            return leaving.code or 0
        finally:
            sys.argv = before
        return 0

    def test_fit_sample_predict(self, place, capsys, monkeypatch):
        monkeypatch.setenv("HUBEL_CACHE", str(place / "cache"))
        fast = ["--epochs", "1", "--precision", "float32", "-q"]
        fitted = [
            "fit",
            place / "photos",
            "--target",
            "self",
            "--net",
            "variational_autoencoder",
            "--latent",
            "2",
            *fast,
        ]
        assert self.command(*fitted, "-o", place / "vae") == 0
        about = json.loads((place / "vae" / "run.json").read_text())
        assert about["net"]["arguments"]["latent"] == 2
        assert self.command("sample", place / "vae", "-n", "7", "-o", place / "s.png") == 0
        with Image.open(place / "s.png") as sheet:
            assert sheet.size == (3 * 12 - 2, 3 * 12 - 2)
        assert self.command("sample", place / "vae", "-n", "7", "-o", place / "s.npz") == 0
        with np.load(place / "s.npz") as stored:
            assert stored["x"].shape == (7, 1, 10, 10)
        capsys.readouterr()
        assert self.command("predict", place / "vae", place / "photos" / "left") == 0
        assert capsys.readouterr().out.startswith("file,surprise\n")
        assert self.command("evaluate", place / "vae") == 0
        assert "elbo" in capsys.readouterr().out

    def test_a_table_of_numbers(self, place, capsys, monkeypatch):
        monkeypatch.setenv("HUBEL_CACHE", str(place / "cache"))
        rng = np.random.default_rng(0)
        mass, noise = rng.normal(5, 2, 80), rng.normal(size=(2, 80))
        columns = [mass, 3e4 * mass + 300 * noise[0], noise[1]]
        lines = ["mass [Msun],T (K),noise,label"]
        lines += [
            f"{a:.6g},{b:.6g},{c:.6g},{'heavy' if a > 5 else 'light'}"
            for a, b, c in zip(*columns, strict=True)
        ]
        (place / "stars.csv").write_text("\n".join(lines) + "\n")
        fast = ["--epochs", "40", "--precision", "float32", "-q"]
        fitted = ["fit", place / "stars.csv", "--target", "self", "--latent", "2", *fast]
        assert self.command(*fitted, "-o", place / "stars") == 0
        run = hubel.open_run(place / "stars")
        train = np.column_stack(columns)[run.split["train"]]
        assert run.scaling.mean == pytest.approx(train.mean(axis=0), rel=1e-4)
        assert run.scaling.std == pytest.approx(train.std(axis=0), rel=1e-4)
        assert run.test["explained_variance"]["value"] > 0.5
        x = np.column_stack(columns)[:5].astype(np.float32)
        given_back = run.predict(x).values
        spreads = (given_back - x) / np.array(run.scaling.std)
        capsys.readouterr()
        assert self.command("predict", place / "stars", place / "stars.csv") == 0
        said = list(csv.reader(io.StringIO(capsys.readouterr().out)))
        assert said[0] == ["file", "surprise"] and len(said) == 81
        assert [float(row[1]) for row in said[1:6]] == pytest.approx(
            np.sqrt((spreads**2).mean(axis=1)), rel=1e-3
        )
        assert self.command("evaluate", place / "stars", place / "stars.csv") == 0
        assert self.command("evaluate", place / "stars") == 0
        page = Page(page_of(place / "stars")).text
        assert "Rows, and what the network gives back of them" in page and "T (K)" in page and "heavy" in page
        with np.load(place / "stars" / "predictions.npz") as stored:
            assert stored["ids"].tolist() == (run.split["test"] + 1).tolist()  # rows are counted from 1
            assert stored["entering_names"].tolist() == ["mass", "T", "noise"]
        assert self.command("sample", place / "stars", "-o", place / "s.npz") == 1
        (place / "gap.csv").write_text("mass [Msun],T (K),noise\n1,,3\n")
        capsys.readouterr()
        assert self.command("predict", place / "stars", place / "gap.csv") == 1
        assert "the column 'T (K)' has nothing in 1 rows (first row 1)" in capsys.readouterr().err
        for word in ("--balance", "--uncertainty"):
            assert self.command(*fitted, word, "-o", place / "no") == 1
            assert (
                f"{word[2:]} was asked for, but the examples of stars are their own target"
                in capsys.readouterr().err
            )

    def test_latent_alone_sets_the_size_of_the_default(self, place, monkeypatch):
        monkeypatch.setenv("HUBEL_CACHE", str(place / "cache"))
        fast = ["--epochs", "1", "--precision", "float32", "-q"]
        assert (
            self.command(
                "fit", place / "photos", "--target", "self", "--latent", "3", *fast, "-o", place / "ae"
            )
            == 0
        )
        about = json.loads((place / "ae" / "run.json").read_text())
        assert about["net"]["name"] == "hubel.nets.conv_autoencoder"
        assert about["net"]["arguments"]["latent"] == 3

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--latent", "3"], "--latent is the size of a code"),
            (["--latent", "0", "--target", "self"], "--latent is 0"),
            (["--latent", "3", "--target", "self", "--net", "realnvp"], "realnvp has no code whose size"),
        ],
    )
    def test_wrong_words(self, place, arguments, said, capsys):
        assert self.command("fit", place / "photos", *arguments) == 2
        assert said in capsys.readouterr().err

    def test_samples_of_no_pictures_and_other_endings(self, tmp_path):
        with pytest.raises(ValueError, match=r"write \.npz"):
            workflows.write_samples(np.zeros((3, 5)), tmp_path / "s.png")
        with pytest.raises(ValueError, match=r"ends in .jpg; expected .png"):
            workflows.write_samples(np.zeros((3, 1, 8, 8)), tmp_path / "s.jpg")
        colour = workflows.generate.sheet(np.random.default_rng(0).normal(size=(2, 3, 8, 8)))
        assert colour.shape == (8, 18, 3)


def test_samples_of_whole_numbers_stay_within_their_type(tmp_path):
    scaling = hubel.data.preprocessing.Scaling(
        mean=(10.0, 10.0), std=(100.0, 100.0), dtype="uint8", shape=(2,)
    )
    from hubel.workflows.given_back import samples_of

    torch.manual_seed(0)
    values = samples_of(nets.realnvp(inputs=2), scaling, 500, 0)
    assert values.dtype == np.uint8
    raw = 10 + 100 * nets.realnvp(inputs=2).sample(500, 0).numpy()  # at the start standard normal numbers
    np.testing.assert_array_equal(values, np.clip(np.rint(raw), 0, 255))
    assert (values == 0).mean() > 0.4
