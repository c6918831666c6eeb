"""The estimators do what `hubel.fit`, scikit-learn's closed forms and a loop written by hand do."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris, make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import hubel
from hubel.data import Dataset, pad_series
from hubel.fitting import SGD, AdamW, Constant, EarlyStopping, Precision, Recipe
from hubel.nets import compact, mlp
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError
from hubel.sklearn import NetClassifier, NetRegressor

SMALL = partial(mlp, (8,))
LINEAR = partial(mlp, ())


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr(hubel.show, "report", lambda folder: "<html></html>")


def classes_of(num=90, features=5, labels=("a", "b", "c"), seed=0):
    X, y = make_classification(
        num, features, n_informative=4, n_redundant=0, n_classes=len(labels), random_state=seed
    )
    return X, np.array(labels)[y]


def values_of(num=80, features=4, targets=1, noise=5.0, seed=0):
    return make_regression(num, features, n_targets=targets, noise=noise, bias=7.0, random_state=seed)


def pictures_of(num=24, channels=1, side=10, seed=0):
    generator = np.random.default_rng(seed)
    y = np.arange(num) % 2
    X = generator.integers(0, 120, size=(num, channels, side, side)).astype(np.uint8)
    X[y == 1, :, 3:7, 3:7] += 120
    return X, y


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def dropping(inputs, outputs):
    """A network whose training draws random numbers and keeps statistics."""
    return nn.Sequential(
        nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, outputs)
    )


# The same fit as hubel.fit


@pytest.mark.parametrize("validation", [0, 0.25])
def test_weights_are_those_of_hubel_fit(validation, tmp_path):
    X, y = classes_of()
    stopping = EarlyStopping(patience=2) if validation else None
    recipe = Recipe(
        epochs=40, batch_size=16, optimizer=AdamW(learning_rate=0.03), early_stopping=stopping, seed=3
    )
    ours = NetClassifier(dropping, recipe=recipe, validation=validation, device="cpu").fit(X, y)
    data = Dataset(
        inputs=X, targets=np.searchsorted(["a", "b", "c"], y).astype(np.int64), classes=("a", "b", "c")
    )
    run = hubel.fit(
        data,
        net=dropping,
        objective=CrossEntropy(3, classes=("a", "b", "c")),
        recipe=ours.recipe_,
        validation=validation,
        test=0,
        out=tmp_path / "run",
        device="cpu",
        quiet=True,
    )
    assert same(ours.net_, run.net)
    assert ours.objective_ == run.objective and ours.scaling_ == run.scaling
    assert (ours.objective_.temperature != 1) == bool(validation)
    assert ours.loss_curve_ == pytest.approx([row["loss"] for row in run.curves], rel=1e-6)
    if validation:
        assert ours.validation_curve_ == [row["validation_loss"] for row in run.curves]
        assert ours.n_iter_ == len(run.curves) < 40
    else:
        assert ours.n_iter_ == 40 and ours.validation_curve_ == []


def test_out_writes_the_run_and_changes_no_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = values_of(targets=2)
    settings = {"net": SMALL, "epochs": 4, "random_state": 1, "device": "cpu"}
    alone = NetRegressor(**settings).fit(X, y)
    assert alone.run_ is None and not list(tmp_path.iterdir())
    as_run = NetRegressor(**settings, out=tmp_path / "run").fit(X, y)
    assert as_run.run_.status == "finished" and (tmp_path / "run" / "run.json").exists()
    assert as_run.n_iter_ == 4 and np.array_equal(as_run.predict(X), alone.predict(X))
    assert np.array_equal(hubel.open_run(tmp_path / "run", device="cpu").predict(X).values, alone.predict(X))


# Closed forms


def test_a_linear_net_is_logistic_regression():
    X, y = make_classification(200, 4, flip_y=0.2, random_state=0)
    recipe = Recipe(optimizer=SGD(learning_rate=0.5, weight_decay=0), schedule=Constant(), average=False)
    ours = NetClassifier(LINEAR, recipe=recipe, epochs=600, batch_size=200, device="cpu").fit(X, y)
    truth = LogisticRegression(C=np.inf, tol=1e-8).fit(X, y)
    assert ours.predict_proba(X) == pytest.approx(truth.predict_proba(X), abs=1e-4)
    assert ours.decision_function(X) == pytest.approx(truth.decision_function(X), abs=1e-3)
    assert ours.score(X, y) == truth.score(X, y)
    assert np.array_equal(ours.predict(X), truth.predict(X))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_net_is_least_squares(weighted):
    X, y = values_of(noise=30.0)
    weights = np.random.default_rng(0).uniform(0.1, 5, len(y)) if weighted else None
    recipe = Recipe(optimizer=SGD(learning_rate=0.1, weight_decay=0), schedule=Constant(), average=False)
    ours = NetRegressor(LINEAR, recipe=recipe, epochs=400, batch_size=len(y), device="cpu")
    truth = LinearRegression().fit(X, y, weights)
    assert ours.fit(X, y, sample_weight=weights).predict(X) == pytest.approx(
        truth.predict(X), rel=1e-4, abs=1e-3
    )
    assert ours.score(X, y, weights) == pytest.approx(truth.score(X, y, weights), abs=1e-6)


def test_partial_fit_is_the_loop_written_by_hand():
    X, y = values_of(num=20)
    recipe = Recipe(optimizer=SGD(learning_rate=0.05, momentum=0.9, nesterov=False, weight_decay=0))
    start = nn.Linear(4, 1)
    ours = NetRegressor(start, recipe=recipe, batch_size=20, objective=SquaredError(1), device="cpu")
    for _ in range(3):
        ours.partial_fit(X, y)
    theirs = copy.deepcopy(start)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    inputs = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    for _ in range(3):
        optimizer.zero_grad()
        (theirs(inputs)[:, 0] - torch.tensor(y, dtype=torch.float32)).square().mean().backward()
        optimizer.step()
    assert ours.n_iter_ == 3 and len(ours.loss_curve_) == 3
    torch.testing.assert_close(ours.net_.weight, theirs.weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.net_.bias, theirs.bias, rtol=1e-4, atol=1e-4)


def test_a_pickled_estimator_goes_on_alike():
    X, y = classes_of()
    ours = NetClassifier(SMALL, random_state=0, device="cpu")
    ours.partial_fit(X, y, classes=["a", "b", "c"]).partial_fit(X, y)
    again = pickle.loads(pickle.dumps(ours))
    assert same(ours.partial_fit(X, y).net_, again.partial_fit(X, y).net_)
    assert same(ours.net_, copy.deepcopy(again).net_)


# Weights


def test_an_example_of_weight_zero_is_none():
    X, y = classes_of()
    weights = np.random.default_rng(0).integers(0, 2, len(y)) * 2.0
    ours = NetClassifier(SMALL, epochs=3, random_state=0, device="cpu")
    one = ours.fit(X, y, weights).predict_proba(X)
    kept = weights > 0
    assert np.array_equal(one, ours.fit(X[kept], y[kept], weights[kept]).predict_proba(X))
    assert not np.array_equal(one, ours.fit(X, y).predict_proba(X))


def test_class_weight_is_a_weight_for_every_example():
    X, y = classes_of()
    by_class = {"a": 4.0, "b": 1.0, "c": 0.5}
    settings = {"net": SMALL, "epochs": 3, "random_state": 0, "device": "cpu"}
    one = NetClassifier(**settings, class_weight=by_class).fit(X, y)
    other = NetClassifier(**settings).fit(X, y, [by_class[label] for label in y])
    assert same(one.net_, other.net_)
    balanced = NetClassifier(**settings, class_weight="balanced").fit(X[y != "c"][:40], y[y != "c"][:40])
    assert set(balanced.classes_) == {"a", "b"}


# What X and y may be


def test_pictures_of_three_and_four_axes():
    X, y = pictures_of()
    ours = NetClassifier(partial(compact, 8), epochs=12, learning_rate=0.02, random_state=0, device="cpu")
    four = ours.fit(X, y).predict_proba(X)
    assert ours.scaling_.shape == (1, 10, 10) and ours.score(X, y) > 0.9
    assert np.array_equal(ours.fit(X[:, 0], y).predict_proba(X[:, 0]), four)
    with pytest.raises(
        ValueError, match=r"shape \(1, 10, 9\), but this NetClassifier was fitted to \(1, 10, 10\)"
    ):
        ours.predict(X[:, 0, :, :9])
    colour, y = pictures_of(channels=3)
    first = ours.fit(colour, y).predict_proba(colour)
    last = ours.fit(np.moveaxis(colour, 1, 3), y)
    assert last.scaling_.shape == (3, 10, 10)
    assert last.predict_proba(np.moveaxis(colour, 1, 3)) == pytest.approx(first, abs=1e-5)


def test_the_default_network_of_pictures_and_of_tables():
    X, y = pictures_of()
    assert NetClassifier(epochs=1, device="cpu").fit(X, y).net_.made_by.name == "hubel.nets.compact"
    table = NetClassifier(epochs=1, device="cpu").fit(X.reshape(24, -1), y).net_
    assert table.made_by.arguments["hidden"] == [100, 100]
    with pytest.raises(ValueError, match="expected a table"):
        NetClassifier().fit(X[:, None, None, None], y)


def test_several_labels():
    X, _ = classes_of(num=60)
    y = np.stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] + X[:, 3] > 0], axis=1).astype(int)
    ours = NetClassifier(epochs=120, learning_rate=0.02, random_state=0, device="cpu").fit(X, y)
    assert isinstance(ours.objective_, BinaryCrossEntropy) and ours.classes_.tolist() == [0, 1, 2]
    assert ours.score(X, y) > 0.9
    assert np.array_equal(ours.predict(X), (ours.decision_function(X) > 0).astype(int))
    with pytest.raises(ValueError, match="one class per example"):
        ours.fit(X, y * [1, 2, 3])
    with pytest.raises(ValueError, match=r"0/1 labels \[N, 3\]"):
        ours.fit(X, y).partial_fit(X, y[:, :2])
    with pytest.raises(ValueError, match="positive_weights"):
        NetClassifier(class_weight="balanced").fit(X, y)


def test_one_node_for_two_classes():
    X, y = classes_of(labels=("no", "yes"))
    objective = BinaryCrossEntropy(1, classes=("no", "yes"))
    ours = NetClassifier(SMALL, objective=objective, epochs=20, random_state=0, device="cpu").fit(X, y)
    assert ours.decision_function(X).shape == (90,) and ours.predict_proba(X).shape == (90, 2)
    assert np.array_equal(ours.predict(X), np.where(ours.decision_function(X) > 0, "yes", "no"))
    assert ours.predict_proba(X)[:, 1] == pytest.approx(
        1 / (1 + np.exp(-ours.decision_function(X))), abs=1e-6
    )


def test_values_keep_their_shape():
    X, y = values_of()
    ours = NetRegressor(SMALL, epochs=2, device="cpu")
    assert ours.fit(X, y).predict(X).shape == (80,)
    assert ours.fit(X, y[:, None]).predict(X).shape == (80, 1)
    assert ours.fit(X, np.stack([y, -y], 1)).predict(X).shape == (80, 2)
    with pytest.raises(ValueError, match="1 values an example, but this NetRegressor was fitted to 2"):
        ours.partial_fit(X, y)


@pytest.mark.parametrize("rows", [1, 7, 128, 300])
def test_a_row_has_the_same_answer_whichever_stand_beside_it(rows):
    X, y = classes_of(num=300)
    ours = NetClassifier(epochs=1, random_state=0, device="cpu").fit(X, y)
    order = np.random.default_rng(0).permutation(300)[:rows]
    assert np.array_equal(ours.predict_proba(X)[order], ours.predict_proba(X[order]))


# In scikit-learn's company


def test_pipeline_search_and_cross_validation():
    assert hubel.sklearn.NetClassifier is NetClassifier
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), NetClassifier(random_state=0, device="cpu"))
    grid = {
        "netclassifier__net": [SMALL, partial(mlp, (20,))],
        "netclassifier__epochs": np.array([1, 60]),
        "netclassifier__learning_rate": [0.02],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_params_["netclassifier__epochs"] == 60 and search.best_score_ > 0.9
    assert search.predict(X).shape == (150,) and search.best_estimator_[-1].n_iter_ == 60
    X, y = load_digits(return_X_y=True)
    pictures = NetClassifier(partial(compact, 8), epochs=2, random_state=0, device="cpu")
    scores = cross_val_score(pictures, X[:60].reshape(-1, 8, 8), y[:60], cv=2, error_score="raise")
    assert scores.shape == (2,)


def test_columns_are_compared_by_name():
    pandas = pytest.importorskip("pandas")
    X, y = values_of()
    table = pandas.DataFrame(X, columns=["u", "v", "w", "x"])
    ours = NetRegressor(SMALL, epochs=1, random_state=0, device="cpu").fit(table, y)
    assert ours.feature_names_in_.tolist() == ["u", "v", "w", "x"]
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(table[["v", "u", "w", "x"]])


def test_random_state_recipe_and_seed():
    X, y = values_of()

    def answer(**settings):
        return NetRegressor(SMALL, epochs=1, device="cpu", **settings).fit(X, y).predict(X)

    assert np.array_equal(answer(random_state=1), answer(random_state=1))
    assert not np.array_equal(answer(random_state=1), answer(random_state=2))
    assert not np.array_equal(answer(), answer())
    assert np.array_equal(answer(recipe=Recipe(seed=4)), answer(recipe=Recipe(seed=4)))
    assert NetRegressor(SMALL, recipe=Recipe(seed=4), epochs=1).fit(X, y).recipe_.seed == 4


def test_parameters_go_before_the_recipe():
    X, y = values_of()
    recipe = Recipe(epochs=9, batch_size=5, optimizer=SGD(learning_rate=0.3, momentum=0.5))
    ours = NetRegressor(SMALL, recipe=recipe, epochs=2, learning_rate=0.01, device="cpu").fit(X, y)
    assert ours.recipe_.epochs == ours.n_iter_ == 2 and ours.recipe_.batch_size == 5
    assert ours.recipe_.optimizer == SGD(learning_rate=0.01, momentum=0.5)
    assert ours.recipe is recipe and ours.epochs == 2


def test_a_given_network_is_not_changed():
    X, y = values_of()
    start = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    before = copy.deepcopy(start)
    ours = NetRegressor(start, epochs=3, random_state=0, device="cpu")
    first = ours.fit(X, y).predict(X)
    assert same(start, before) and not same(ours.net_, before)
    assert np.array_equal(ours.fit(X, y).predict(X), first)


def test_a_network_in_float64_computes_in_float64():
    X, y = values_of()
    ours = NetRegressor(nn.Linear(4, 1).double(), epochs=3, device="cpu").fit(X, y)
    assert ours.net_.weight.dtype == torch.float64 and ours.scaling_.precision == "float64"
    assert ours.predict(X).dtype == np.float64


# What is refused


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"net": 5}, TypeError, "net is 5; expected a torch.nn.Module"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate is 0.0; expected a positive number"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"net": nn.Sequential(nn.Linear(5, 3), nn.Softmax(1))}, ValueError, "ends with a softmax"),
        ({"net": partial(mlp, (4,), outputs=2)}, TypeError, "outputs"),
        ({"net": nn.Linear(5, 2)}, ValueError, r"expected \(32, 3\)"),
        ({"objective": CrossEntropy(2)}, ValueError, "class numbers run from 0 to 2"),
        ({"recipe": Recipe(early_stopping=EarlyStopping())}, ValueError, "watches the validation loss"),
        ({"device": "abacus"}, ValueError, "not known"),
        ({"class_weight": {"a": 0, "b": 0}}, ValueError, "of one class, 'c'"),
    ],
)
def test_the_wrong_parameter_is_refused(settings, error, text):
    X, y = classes_of()
    if "outputs" in text:
        settings = {"net": lambda inputs: None}
    with pytest.raises(error, match=text):
        NetClassifier(**{"epochs": 1, "device": "cpu", **settings}).fit(X, y)


def test_labels_that_were_not_announced_are_refused():
    X, y = classes_of()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        NetClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"'c'.*none of the classes"):
        NetClassifier().partial_fit(X, y, classes=["a", "b"])
    ours = NetClassifier(SMALL, device="cpu").partial_fit(X, y, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="not the same as on the first call"):
        ours.partial_fit(X, y, classes=["a", "b"])
    assert ours.partial_fit(X[:1], y[:1]).n_iter_ == 2


# Files


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (("b", "a"), "U1"),
        (("b", "a"), object),
        ((3, -7), np.int64),
        ((1.0, 2.0), np.float32),
        ((True, False), bool),
    ],
)
def test_a_saved_classifier_is_the_same(labels, dtype, tmp_path):
    X, y = classes_of(labels=labels)
    y = y.astype(dtype)
    ours = NetClassifier(
        SMALL,
        epochs=2,
        validation=0.2,
        class_weight={label: k + 1 for k, label in enumerate(labels)},
        recipe=Recipe(optimizer=SGD(learning_rate=0.01)),
        random_state=5,
        device="cpu",
    ).fit(X, y)
    ours.save(tmp_path / "file")
    again = NetClassifier.load(tmp_path / "file", device="cpu")
    assert np.array_equal(again.predict_proba(X), ours.predict_proba(X))
    assert np.array_equal(again.predict(X), ours.predict(X)) and again.classes_.dtype == ours.classes_.dtype
    for name in ("epochs", "recipe", "class_weight", "validation", "random_state", "batch_size"):
        assert getattr(again, name) == getattr(ours, name)
    for name in ("n_iter_", "n_features_in_", "loss_curve_", "validation_curve_", "recipe_", "scaling_"):
        assert getattr(again, name) == getattr(ours, name)
    assert same(again.fit(X, y).net_, ours.net_)  # the network's function came back too


def test_a_saved_regressor_is_the_same(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = values_of()
    X = pandas.DataFrame(X, columns=list("stuv"))
    ours = NetRegressor(epochs=2, random_state=np.random.RandomState(0), device="cpu").fit(X, y)
    ours.save(tmp_path / "file")
    again = NetRegressor.load(tmp_path / "file", device="cpu")
    assert np.array_equal(again.predict(X), ours.predict(X)) and again.predict(X).ndim == 1
    assert again.net is None and again.random_state is None
    assert again.feature_names_in_.tolist() == list("stuv")
    assert again.partial_fit(X, y).n_iter_ == 3
    with pytest.raises(ValueError, match=r"holds a NetRegressor: read it with NetRegressor\.load"):
        NetClassifier.load(tmp_path / "file")


def test_a_network_of_your_own_is_passed_again(tmp_path):
    X, y = values_of()
    own = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    ours = NetRegressor(own, epochs=1, device="cpu").fit(X, y)
    ours.save(tmp_path / "file")
    with pytest.raises(ValueError, match="pass it again"):
        NetRegressor.load(tmp_path / "file")
    again = NetRegressor.load(tmp_path / "file", net=own, device="cpu")
    assert np.array_equal(again.predict(X), ours.predict(X)) and not same(own, again.net_)
    with pytest.raises(ValueError, match="does not fit this network"):
        NetRegressor.load(tmp_path / "file", net=nn.Linear(4, 1))


def test_a_file_names_no_code(tmp_path):
    from hubel.fitting import codec

    X, y = values_of()
    ours = NetRegressor(SMALL, epochs=1, device="cpu").fit(X, y)
    ours.save(tmp_path / "file")
    tree = codec.decode(tmp_path / "file")
    for name in ("os.system", "hubel.nets.GENERATORS", "hubel.fitting.Recipe"):
        tree["made_by"] = {"name": name, "arguments": {}}
        (tmp_path / "other").write_bytes(codec.encode(tree))
        with pytest.raises(ValueError, match="may"):
            NetRegressor.load(tmp_path / "other")
    tree = codec.decode(tmp_path / "file")
    del tree["weights"]
    (tmp_path / "other").write_bytes(codec.encode(tree))
    with pytest.raises(ValueError, match="is not whole"):
        NetRegressor.load(tmp_path / "other")
    with pytest.raises(NotFittedError):
        NetRegressor().save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_precision_of_the_recipe_is_kept():
    X, y = values_of()
    recipe = Recipe(precision=Precision(dtype="bfloat16"))
    ours = NetRegressor(SMALL, recipe=recipe, epochs=1, random_state=0, device="cpu").fit(X, y)
    assert ours.recipe_.precision.dtype == "bfloat16"


def test_series_of_different_lengths_are_refused_with_the_way_to_fit_them():
    ragged = [np.zeros((3, 2)), np.zeros((5, 2)), np.zeros((4, 2))]
    for given in (ragged, pad_series(ragged)):
        with pytest.raises(ValueError, match=r"series of different lengths.*hubel\.fit\(series, y\)"):
            NetClassifier(epochs=1).fit(given, [0, 1, 0])
