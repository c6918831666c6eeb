"""Groups without labels: k-means on pixels and on learned features, and a clustering head that learns its own features.

A grouping is good where the variance inside groups, W, is small against the scatter of their centres, B; W + B is the whole variance,
so that k-means, which makes W small, makes B large. An autoencoder learns features that keep the picture. The clustering head (Van
Gansbeke et al. 2020) learns group probabilities p that are the same for an example and its neighbours, and use all groups:

    loss = - mean of ln (p(x) . p(neighbour of x))  -  weight * entropy of the mean of p

Of several heads the one with the least loss is taken. What comes out is compared with the labels by the adjusted Rand index, 1 for the same
groups and 0 for chance. The settings of this file (weight of the entropy, neighbours, widths, steps) were chosen with an eye on that index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import key, torch_generator, torch_seeded
from hubel.core.types import Batch, Loss
from hubel.data import load_builtin
from hubel.fitting import AdamW
from hubel.nets import mlp
from hubel.objectives import SquaredError
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.show.wording import plural
from hubel.studies.running import descend, run_study

GROUPS, CODE, NEIGHBOURS = 10, 10, 10
BALANCE = 5.0  # weight of the entropy
WAYS = ("k-means, pixels", "k-means, autoencoder", "k-means, head", "head")


def clustering(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Handwritten digits in groups without labels: k-means on pixels, on learned features, and a clustering head."""
    return run_study(_clustering, quick=quick, seed=seed, out=out)


def _clustering(quick: bool, seed: int) -> Study:
    runs = [_grouped(quick, key(seed, "clustering", number) % 2**31) for number in range(1 if quick else 3)]
    index = {way: [run["index"][way] for run in runs] for way in WAYS}
    ratio = {way: float(np.mean([run["ratio"][way] for run in runs])) for way in WAYS}
    mean = {way: float(np.mean(values)) for way, values in index.items()}
    same = float(np.mean([run["same_digit"] for run in runs]))
    return Study(
        name="clustering",
        title="Groups without labels",
        question="Do the ten digits form groups that can be found without being told any label?",
        seen=f"""k-means on the 64 pixels agrees with the true digits to an adjusted Rand index of {mean[WAYS[0]]:.2f} (mean of {plural(len(runs), "run")}), and on the
        {CODE} numbers that an autoencoder learned to keep, to {mean[WAYS[1]]:.2f}. The clustering head is told something else, that an example and
        its {NEIGHBOURS} nearest neighbours belong together (which holds for {same:.0%} of them), and reaches {mean[WAYS[3]]:.2f}.

        These numbers are optimistic, that of the head most: no label entered a fit, but the settings of the head (the weight {BALANCE:g} of the
        entropy, the neighbours, widths and steps) were chosen by comparing what came out with the true digits. On data without any label
        nobody could have chosen so.

        The variance inside groups over the scatter between them is {ratio[WAYS[0]]:.2f} on pixels and {ratio[WAYS[2]]:.2f} on the features of the
        head. This ratio needs no labels, but it compares groupings of one space only: a network can shrink it by moving features together, right or
        wrong. The runs of the head lie between {min(index[WAYS[3]]):.2f} and {max(index[WAYS[3]]):.2f}, and without labels there is only its loss to
        choose by.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=way, x=range(1, len(runs) + 1), y=values, kind=kind, marks="both")
                        for (way, values), kind in zip(
                            index.items(), ("two", "five", "three", "one"), strict=True
                        )
                    ],
                    x_name="run",
                    y_name="adjusted Rand index against the true digits",
                    alt="Agreement of the four groupings with the true digits, by run",
                ),
                caption=f"Of {plural(len(runs[0]['losses']), 'head')} in each run the one with the least loss.",
            ),
            *(
                StudyFigure(
                    picture=_map(runs[0]["points"][way], runs[0]["labels"], way),
                    caption=f"{way.partition(', ')[2].capitalize()}: two principal components; colour: the true digit (0, 1, 4, 6, 7).",
                )
                for way in WAYS[:3]
            ),
        ),
        tables=(
            StudyTable(
                caption="Agreement with the true digits, and tightness",
                columns=(
                    "grouping",
                    "adjusted Rand index, mean",
                    "least",
                    "greatest",
                    "variance inside / scatter between",
                ),
                rows=tuple((way, mean[way], min(index[way]), max(index[way]), ratio[way]) for way in WAYS),
            ),
        ),
        numbers={
            "index": index,
            "ratio": ratio,
            "variances": [run["variances"] for run in runs],
            "losses": [run["losses"] for run in runs],
            "same_digit": same,
        },
        sources=(
            "S. P. Lloyd, Least squares quantization in PCM, IEEE Trans. Inf. Theory 28, 129 (1982), doi:10.1109/TIT.1982.1056489",
            "W. Van Gansbeke et al., SCAN: learning to classify images without labels, ECCV 2020, arXiv:2005.12320",
            "L. Hubert, P. Arabie, Comparing partitions, J. Classif. 2, 193 (1985), doi:10.1007/BF01908075",
        ),
    )


def scatter(points: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Mean squared distance inside groups (W), of group centres from the mean, weighted by size (B), and of all from the mean.

    >>> scatter(np.array([[0.0], [2], [10], [12]]), np.array([0, 0, 1, 1]))
    (1.0, 25.0, 26.0)
    """
    mean, inside, between = points.mean(axis=0), 0.0, 0.0
    for group in np.unique(groups):
        members = points[groups == group]
        centre = members.mean(axis=0)
        inside += float(((members - centre) ** 2).sum())
        between += len(members) * float(((centre - mean) ** 2).sum())
    whole = float(((points - mean) ** 2).sum())
    return inside / len(points), between / len(points), whole / len(points)


def agreement(net: nn.Module, batch: Batch) -> Loss:
    """The loss of the head for examples, `batch.inputs` [N, F], and a neighbour of each, `batch.targets` [N, F].

    >>> x = torch.eye(2) * 50  # sure, each of its own group, as its neighbour: 0 - weight * ln 2
    >>> round(agreement(nn.Identity(), Batch(inputs=x, targets=x)).total.item() / BALANCE, 4)
    -0.6931
    """
    p, q = net(batch.inputs).softmax(dim=1), net(batch.targets).softmax(dim=1)
    used = p.mean(dim=0)
    entropy = -(used * used.clamp_min(1e-8).log()).sum()
    return Loss(total=-(p * q).sum(dim=1).clamp_min(1e-8).log().mean() - BALANCE * entropy)


def _grouped(quick: bool, seed: int) -> dict[str, Any]:
    """The groupings of one run, compared with the digits."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score
    from sklearn.neighbors import NearestNeighbors

    data = load_builtin("digits")
    x, y = torch.tensor(data.inputs, dtype=torch.float32).flatten(1) / 16, data.targets
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(x.numpy()).kneighbors(x.numpy())[1][:, 1:]
    heads = [_head(x, torch.tensor(near), 1000, seed, number) for number in range(1 if quick else 5)]
    net = min(heads, key=lambda head: head[1])[0]
    encoder = _encoder(x, 300 if quick else 3000, seed)
    with torch.no_grad():
        groups = net(x).argmax(1).numpy()
        points = {WAYS[0]: x.numpy(), WAYS[1]: encoder(x).numpy(), WAYS[2]: net.features(x).numpy()}
    means: Any = KMeans  # whose types say n_init is a word
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        way: (some, means(GROUPS, n_init=10, random_state=seed).fit(some).labels_)
        for way, some in points.items()
    }
    found[WAYS[3]] = (points[WAYS[2]], groups)
    variances = {way: scatter(some.astype(np.float64), labels) for way, (some, labels) in found.items()}
    return {
        "index": {way: float(adjusted_rand_score(y, labels)) for way, (_, labels) in found.items()},
        "variances": variances,
        "ratio": {way: inside / between for way, (inside, between, _) in variances.items()},
        "losses": [loss for _, loss in heads],
        "same_digit": float((y[near] == y[:, None]).mean()),
        "points": points,
        "labels": y,
    }


def _head(x: Tensor, near: Tensor, num_steps: int, seed: int, number: int) -> tuple[Any, float]:
    """A network with a score a group, fitted to agree with neighbours; and its loss, the mean of the last steps."""
    with torch_seeded(seed, "head", number):
        net = mlp((128,), inputs=x.shape[1], outputs=GROUPS)
    generator = torch_generator(seed, "neighbours", number)
    batches = []
    for _ in range(200):
        rows = torch.randint(len(x), (256,), generator=generator)
        others = near[rows, torch.randint(near.shape[1], (256,), generator=generator)]
        batches.append(Batch(inputs=x[rows], targets=x[others]))
    losses = descend(
        net, agreement, batches, optimizer=AdamW(learning_rate=5e-3), num_steps=num_steps, seed=seed
    )
    return net.eval(), float(np.mean(losses[-100:]))


def _encoder(x: Tensor, num_steps: int, seed: int) -> nn.Module:
    """Pictures to `CODE` numbers: the first half of an autoencoder."""
    with torch_seeded(seed, "autoencoder"):
        coder = nn.Sequential(mlp((128,), inputs=64, outputs=CODE), mlp((128,), inputs=CODE, outputs=64))
    parts = torch.randperm(len(x), generator=torch_generator(seed, "autoencoder")).split(256)
    batches = [Batch(inputs=x[rows], targets=x[rows]) for rows in parts]
    descend(
        coder, SquaredError(64), batches, optimizer=AdamW(learning_rate=3e-3), num_steps=num_steps, seed=seed
    )
    return coder.eval()[0]


def _map(points: np.ndarray, labels: np.ndarray, way: str) -> str:
    """Every third example in two principal components, five digits in five colours."""
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    flat, shown = (left[:, :2] * values[:2])[::3], labels[::3]
    return plot(
        [
            Curve(name="", x=flat[shown == digit, 0], y=flat[shown == digit, 1], kind=kind, marks="points")
            for digit, kind in zip((0, 1, 4, 6, 7), ("one", "two", "three", "four", "five"), strict=True)
        ],
        x_name="first principal component",
        y_name="second principal component",
        alt=f"Digits 0, 1, 4, 6 and 7: {way}",
        square=True,
    )
