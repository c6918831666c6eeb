"""A map of examples by what a network makes of them: examples with similar codes lie beside each other.

The codes are what the last linear layer reads, or what a layer answers (maps averaged over positions). They are brought to the plane by

    pca    the two directions of greatest variance: linear, distances far apart mean something
    tsne   t-SNE: keeps who is whose neighbour; sizes of clusters and distances between them mean nothing
    umap   UMAP: the same, faster for many examples (the extra "maps")

`neighbours` says how far that can be believed: 1 where no example has strangers among its nearest neighbours on the map (J. Venna, S. Kaski
2001, "trustworthiness"), about 0.5 by chance.

`grid()` moves the points to the cells of a square grid so that the pictures do not overlap, with the least sum of squared ways (an assignment
problem, solved exactly).

Source: L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", JMLR 9 (2008) 2579; L. McInnes, J. Healy, J. Melville (2018),
arXiv:1802.03426; A. Karpathy, "t-SNE visualization of CNN codes" (2014), cs.stanford.edu/people/karpathy/cnnembed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.errors import missing_extra
from hubel.core.random import key, numpy_generator
from hubel.data.dataset import Dataset
from hubel.explain.layer import LayerOf, ready
from hubel.explain.most_exciting import entering
from hubel.explain.question import layer_named, untouched
from hubel.nets.made import Net

Method = Literal["tsne", "umap", "pca"]
BEFORE = 50  # principal components that t-SNE and UMAP are given at most
MOST_CELLS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class CodesMap:
    """`points` [N, 2] of the plane for the `codes` [N, F] of N examples, with their `labels` [N] where there are some."""

    points: np.ndarray
    codes: np.ndarray
    method: str
    layer: str
    neighbours: float
    labels: np.ndarray | None = None
    axes: tuple[str, str] = ("", "")

    def __len__(self) -> int:
        return len(self.points)

    def grid(self) -> np.ndarray:
        """The cell (row, column) [N, 2] of each example in the smallest square grid that has room for all.

        Raises `ValueError` for more than 4,096 examples.
        """
        if len(self) > MOST_CELLS:
            raise ValueError(
                f"{len(self):,} examples are too many for a grid: draw at most {MOST_CELLS:,} of them"
            )
        return on_grid(self.points)

    def __str__(self) -> str:
        return (
            f"{len(self):,} examples by {self.method} of {self.codes.shape[1]} values of {self.layer}; neighbours are kept to "
            f"{100 * self.neighbours:.0f} %"
        )


def codes_map(
    net: nn.Module,
    x: np.ndarray | Tensor | Dataset,
    layer: str | None = None,
    method: Method = "tsne",
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    scaling: Callable[[Tensor], Tensor] | None = None,
    perplexity: float = 30.0,
    seed: int = 0,
    batch_size: int = 64,
) -> CodesMap:
    """The map of examples `x` [N, ...], by what the last linear layer reads of them, or by what `layer` answers.

    `x` enters as it is, or by `scaling`, that of a run. `perplexity` is the number of neighbours that count (of UMAP half as many); with
    fewer than three times as many examples it is made smaller. The same `seed` draws the same map.

    Raises `ValueError` for fewer than 4 examples, an unknown method, labels of another number, a layer that the network does not have;
    `MissingExtra` where UMAP is asked for and not installed.

    >>> x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    >>> found = codes_map(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), x, method="pca")
    >>> found.points.shape, found.codes.shape, found.layer, found.grid().max()
    ((20, 2), (20, 8), 'what 2 reads', np.int64(4))
    """
    if method not in ("tsne", "umap", "pca"):
        raise ValueError(f'method is {method!r}; expected "tsne", "umap" or "pca"')
    if not perplexity > 1 or batch_size < 1:
        raise ValueError(
            f"perplexity is {perplexity} and batch_size {batch_size}; expected more than 1, and at least 1"
        )
    rows: Any = x.inputs if isinstance(x, Dataset) else x
    if not hasattr(rows, "shape") or len(rows) < 4:
        raise ValueError("a map needs at least 4 examples [N, ...]")
    named = None if labels is None else np.asarray(labels)
    if named is not None and named.shape != (len(rows),):
        raise ValueError(
            f"labels have shape {list(named.shape)} for {len(rows)} examples: pass one label each"
        )
    codes, name = _codes(net, rows, layer, scaling, batch_size)
    points, axes = _plane(codes, method, perplexity, seed)
    return CodesMap(
        points=points,
        codes=codes,
        method={"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}[method],
        layer=name,
        neighbours=_trust(codes, points, seed),
        labels=named,
        axes=axes,
    )


def on_grid(points: np.ndarray) -> np.ndarray:
    """The cell (row, column) of each point [N, 2], each in a cell of its own of a square grid; rows are counted from above.

    >>> on_grid(np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.1, 0.0]])).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    side = math.ceil(math.sqrt(len(points)))
    low, spread = points.min(axis=0), np.ptp(points, axis=0)
    placed = (points - low) / np.where(spread > 0, spread, 1.0) * (side - 1)
    placed[:, 1] = side - 1 - placed[:, 1]
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    rows, chosen = linear_sum_assignment(cdist(placed, cells[:, ::-1], "sqeuclidean"))
    found = np.empty((len(points), 2), np.int64)
    found[rows] = cells[chosen]
    return found


def _codes(
    net: nn.Module, rows: Any, layer: str | None, scaling: Callable[[Tensor], Tensor] | None, batch_size: int
) -> tuple[np.ndarray, str]:
    if layer is not None:
        layer_named(net, layer)
    ready(net)
    found: list[Tensor] = []
    name, read = "", None
    with untouched(net), torch.no_grad():
        for first in range(0, len(rows), batch_size):
            x = entering(net, rows[first : first + batch_size], scaling)
            if read is None:
                name, read = _reader(net, layer, x)
            code = read(x)
            found.append((code.flatten(2).mean(2) if code.ndim > 2 else code).double().cpu())
    codes = torch.cat(found).numpy()
    if not np.isfinite(codes).all():
        raise ValueError(
            "the network makes NaN or infinite codes of some examples. Are they scaled as in training?"
        )
    return codes, name


def _reader(net: nn.Module, layer: str | None, x: Tensor) -> tuple[str, Callable[[Tensor], Tensor]]:
    """What the codes are called, and the function from inputs to them."""
    if layer is not None:
        return layer, LayerOf(net, layer, x[:1])
    last = next((name for name, m in reversed(list(net.named_modules())) if isinstance(m, nn.Linear)), None)
    if isinstance(net, Net):
        return f"what {last or 'the last layer'} reads", net.features
    if last is None:
        raise ValueError("the network has no linear layer whose input could be the code: name a layer")

    def read(z: Tensor) -> Tensor:
        with captured(net, lambda name, module: name == last) as calls:
            net(z)
        if not calls:
            raise ValueError(f"layer {last} is not called when the network answers: name another one")
        return calls[-1][2][0]

    return f"what {last} reads", read


def _plane(
    codes: np.ndarray, method: str, perplexity: float, seed: int
) -> tuple[np.ndarray, tuple[str, str]]:
    """Points [N, 2], and the names of the axes where they have a meaning."""
    centred = codes - codes.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    components = left * sizes
    if components.shape[1] < 2:
        components = np.column_stack([components, np.zeros(len(components))])
        sizes = np.append(sizes, 0.0)
    if method == "pca":
        shares = sizes[:2] ** 2 / max((sizes**2).sum(), 1e-300)
        first, second = (
            f"{word} principal component ({100 * share:.0f} %)"
            for word, share in zip(("first", "second"), shares, strict=True)
        )
        return components[:, :2], (first, second)
    given = components[:, :BEFORE]
    scale = given[:, 0].std()
    given = (given / scale if scale > 0 else given).astype(np.float32)
    state = key(seed, "codes map") % 2**32
    number = min(perplexity, (len(codes) - 1) / 3)
    if method == "umap":
        return _umap(given, max(2, round(number / 2)), state), ("", "")
    from sklearn.manifold import TSNE

    begin: Any = 1e-4 * given[:, :2]
    tsne = TSNE(perplexity=max(number, 1.0), init=begin, random_state=state)
    return tsne.fit_transform(given).astype(np.float64), ("", "")


def _umap(codes: np.ndarray, neighbours: int, state: int) -> np.ndarray:
    try:
        import umap  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        if error.name != "umap":  # it is there, and something that it needs is not
            raise
        raise missing_extra("umap-learn", "maps", "a map by UMAP") from error
    found = umap.UMAP(n_neighbors=neighbours, random_state=state, n_jobs=1).fit_transform(codes)
    return np.asarray(found, np.float64)


def _trust(codes: np.ndarray, points: np.ndarray, seed: int, most: int = 2000) -> float:
    """The trustworthiness of the map with up to 10 neighbours, of at most `most` examples."""
    from sklearn.manifold import trustworthiness

    if len(codes) > most:
        rows = numpy_generator(seed, "trust of a map").choice(len(codes), most, replace=False)
        codes, points = codes[rows], points[rows]
    return float(trustworthiness(codes, points, n_neighbors=max(1, min(10, (len(codes) - 1) // 2 - 1))))
