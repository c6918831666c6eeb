"""Networks that give the explanation with the answer: maps that the scores are made of, not maps that are found afterwards.

    class_activation    scores = W mean_p f_p + b             map of class k: (W f_p)_k / P, adds up to the score less its bias
    attention           scores = W Σ_p a_p h_p + b            map of class k: a_p (W h_p)_k, likewise; a_p how much position p counts
                        a = softmax_p wᵀ(tanh(V h_p) ⊙ sigmoid(U h_p))
    mask                scores = g(m(x) ⊙ x)                  map: m, which part of the picture the network was shown

Maps f_p, h_p are those of a small residual trunk at a quarter of the resolution (pictures of 48 pixels and more are first reduced by a
strided stem). The mask is trained together with the task by `hubel.objectives.SparseExplanation`; the other two need nothing but the task.
`hubel.explain.intrinsic` reads the explanation of all three.

Sources: B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016 (arXiv:1512.04150), equation 2; M. Ilse,
J. Tomczak, M. Welling, "Attention-based deep multiple instance learning", ICML 2018 (arXiv:1802.04712), equations 7 and 9; J. Chen et al.,
"Learning to explain", ICML 2018 (arXiv:1802.07814); that the network behind the mask learns from random masks, N. Jethani et al., "Have we
learned to explain?", AISTATS 2021 (arXiv:2103.01890), section 5. The trunk's blocks are those of `compact`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.errors import nearest
from hubel.layers.explanation import RelaxedMask
from hubel.nets.compact import ConvNorm, Residual
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

STEM, HIDDEN = 16, 64
STEMS = ((48, 1, 3, 1), (96, 2, 3, 1), (10**9, 4, 7, 3))  # sides below, and their stride, kernel, padding
OPEN = 2.0  # the logit with which masks begin: sigmoid(2 / τ) = 0.95 of everything is seen


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """Scores [N, K] and what they are made of: `maps` [N, K, h, w] that, with `absorbed` [K], add up to the scores; or, where `absorbed` is
    None, one mask [N, 1, h, w] for all outputs.
    """

    scores: Tensor
    maps: Tensor
    absorbed: Tensor | None


def self_explaining(
    kind: str = "class_activation",
    *,
    width: int = 32,
    inputs: Sequence[int] = (1, 28, 28),
    outputs: int = 10,
) -> SelfExplaining:
    """A network whose answer comes with a map. `kind` is class_activation, attention or mask. Input [N, C, H, W], output [N, outputs].

    >>> net = self_explaining("attention", inputs=(3, 32, 32), outputs=5).eval()
    >>> found = net.explanation(torch.zeros(2, 3, 32, 32))
    >>> found.maps.shape, torch.allclose(found.maps.sum((2, 3)) + found.absorbed, found.scores)
    (torch.Size([2, 5, 8, 8]), True)

    Raises `ValueError` for another kind, pictures of less than 4 pixels a side, or a width that is not a positive multiple of 8.
    """
    if kind not in KINDS:
        raise ValueError(f"self_explaining: there is no kind {kind!r}.{nearest(str(kind), KINDS)}")
    shape = image_shape(inputs, smallest=4, net="self_explaining")
    if width < 8 or width % 8:
        raise ValueError(f"self_explaining: width must be a positive multiple of 8; received {width}")
    net = KINDS[kind](width, shape, num_outputs(outputs, "self_explaining"))
    return made(net, "self_explaining", kind=kind, width=int(width), inputs=shape, outputs=int(outputs))


class SelfExplaining(Net):
    """A network with `explanation(x)`: its scores and the maps that they are made of."""

    inputs: tuple[int, int, int]

    @abstractmethod
    def explanation(self, x: Tensor) -> Explained:
        """Scores and maps of inputs [N, C, H, W]."""


class ClassActivation(SelfExplaining):
    """Mean over positions, one linear layer: the maps are those of the layer at every position."""

    def __init__(self, width: int, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        self.trunk = Trunk(inputs, width)
        self.fc = nn.Linear(2 * width, outputs)

    def features(self, x: Tensor) -> Tensor:
        """The mean of every channel over positions: [N, F]."""
        return self._maps(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))

    def explanation(self, x: Tensor) -> Explained:
        """Maps [N, K, h, w]: what each position adds to each score."""
        maps = self._maps(x)
        positions = maps.shape[2] * maps.shape[3]
        parts = torch.einsum("nfhw,kf->nkhw", maps, self.fc.weight) / positions
        return Explained(scores=self.fc(maps.mean(dim=(2, 3))), maps=parts, absorbed=self.fc.bias)

    def _maps(self, x: Tensor) -> Tensor:
        check_images(x, self.inputs, "self_explaining")
        return self.trunk(x)


class AttentionPooling(SelfExplaining):
    """A weighted mean over positions, by gated attention, and one linear layer."""

    def __init__(self, width: int, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        self.trunk = Trunk(inputs, width)
        self.value = nn.Linear(2 * width, HIDDEN, bias=False)
        self.gate = nn.Linear(2 * width, HIDDEN, bias=False)
        self.weigh = nn.Linear(HIDDEN, 1, bias=False)
        self.fc = nn.Linear(2 * width, outputs)

    def attention(self, maps: Tensor) -> Tensor:
        """Weights [N, h, w] of the positions of maps [N, F, h, w]: at least 0, with sum 1."""
        steps = maps.flatten(2).transpose(1, 2)
        scores = self.weigh(torch.tanh(self.value(steps)) * torch.sigmoid(self.gate(steps)))
        return scores[..., 0].softmax(dim=1).view(len(maps), *maps.shape[2:])

    def features(self, x: Tensor) -> Tensor:
        """The weighted mean of every channel over positions: [N, F]."""
        maps = self._maps(x)
        return (maps * self.attention(maps)[:, None]).sum(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))

    def explanation(self, x: Tensor) -> Explained:
        """Maps [N, K, h, w]: what each position adds to each score."""
        maps = self._maps(x)
        weighted = maps * self.attention(maps)[:, None]
        parts = torch.einsum("nfhw,kf->nkhw", weighted, self.fc.weight)
        return Explained(scores=self.fc(weighted.sum(dim=(2, 3))), maps=parts, absorbed=self.fc.bias)

    def _maps(self, x: Tensor) -> Tensor:
        check_images(x, self.inputs, "self_explaining")
        return self.trunk(x)


class MaskedInput(SelfExplaining):
    """A branch that chooses what is seen, and a network that sees nothing else.

    In training every second row is shown through a random mask, and teaches the network what any part of a picture says; the others are shown
    through the mask that was chosen, and teach the branch alone. So both can not agree on a code by which the shape of the mask tells the class.
    """

    def __init__(self, width: int, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        self.selector = Trunk(inputs, max(8, width // 2))
        self.choose = nn.Conv2d(2 * max(8, width // 2), 1, 1)
        self.mask = RelaxedMask()
        self.seeing = Seeing(inputs, width, outputs)
        assert self.choose.bias is not None
        nn.init.constant_(self.choose.bias, OPEN)

    def features(self, x: Tensor) -> Tensor:
        """The mean of every channel over positions of what the mask lets through: [N, F]."""
        return self.seeing.features(x * over_picture(self._mask(x), x))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        if not self.training or len(x) < 2:
            return self.seeing(x * over_picture(self._mask(x), x))
        chosen, others = x[::2], x[1::2]
        mask = self._mask(chosen)
        fixed = {name: parameter.detach() for name, parameter in self.seeing.named_parameters()}
        taught = torch.func.functional_call(self.seeing, fixed, (chosen * over_picture(mask, chosen),))
        shown = random_masks(len(others), mask)
        learned = self.seeing(others * over_picture(shown, others))
        scores = learned.new_empty(len(x), learned.shape[1])
        return scores.index_put((torch.arange(0, len(x), 2, device=x.device),), taught).index_put(
            (torch.arange(1, len(x), 2, device=x.device),), learned
        )

    def explanation(self, x: Tensor) -> Explained:
        """The mask [N, 1, h, w], 0 to 1: how much of each part of the picture was seen."""
        mask = self._mask(x)
        return Explained(scores=self.seeing(x * over_picture(mask, x)), maps=mask, absorbed=None)

    def _mask(self, x: Tensor) -> Tensor:
        check_images(x, self.inputs, "self_explaining")
        return self.mask(self.choose(self.selector(x)))


class Seeing(nn.Module):
    """The network behind the mask: a trunk, the mean over positions, a linear layer."""

    def __init__(self, inputs: tuple[int, int, int], width: int, outputs: int):
        super().__init__()
        self.trunk = Trunk(inputs, width)
        self.fc = nn.Linear(2 * width, outputs)

    def features(self, x: Tensor) -> Tensor:
        """The mean of every channel over positions: [N, F]."""
        return self.trunk(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))


KINDS: dict[str, type[SelfExplaining]] = {
    "class_activation": ClassActivation,
    "attention": AttentionPooling,
    "mask": MaskedInput,
}


def over_picture(mask: Tensor, x: Tensor) -> Tensor:
    """A mask [N, 1, h, w] at the resolution of pictures [N, C, H, W], as the network applies it."""
    return F.interpolate(mask, size=x.shape[2:], mode="bilinear", align_corners=False).to(x.dtype)


def random_masks(num: int, like: Tensor) -> Tensor:
    """Masks [num, 1, h, w] of 0 and 1 in the size of `like`, each with a share of ones that is itself drawn from 0 to 1."""
    drawn = torch.rand(num, 1, *like.shape[2:], device=like.device)
    return (drawn < torch.rand(num, 1, 1, 1, device=like.device)).to(like.dtype)


class Trunk(nn.Module):
    """A stem and two stages of one residual block, [N, C, H, W] → [N, 2 width, h, w]; sides of 8 positions and more are pooled by 2."""

    def __init__(self, inputs: tuple[int, int, int], width: int):
        super().__init__()
        stride, kernel, padding = next(s[1:] for s in STEMS if min(inputs[1:]) < s[0])
        sides = [(n + 2 * padding - kernel) // stride + 1 for n in inputs[1:]]
        self.pools = []
        for _ in range(2):
            self.pools.append(tuple(2 if side >= 8 else 1 for side in sides))
            sides = [side // pool for side, pool in zip(sides, self.pools[-1], strict=True)]
        self.stem = ConvNorm(
            inputs[0], STEM, kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding)
        )
        self.first = ConvNorm(STEM, width, kernel=(3, 3))
        self.block = Residual(width, (3, 3))
        self.widen = ConvNorm(width, 2 * width, kernel=(3, 3))
        self.last = Residual(2 * width, (3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Maps of two widths of channels."""
        x = F.relu(self.stem(x))
        x = self.block(F.relu(self.first(F.max_pool2d(x, self.pools[0]))))
        return self.last(F.relu(self.widen(F.max_pool2d(x, self.pools[1]))))
