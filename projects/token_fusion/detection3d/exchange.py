"""Exchange of tokens between points and image patches (TokenFusion, arXiv 2204.08721, section 3.4; official 3D code).

Before each decoder layer of the point branch some blocks of the image branch run. Then a seed whose score is below the
threshold takes the token of the patch that it is projected to, through an MLP of the layer's own. Seeds that no image
shows keep theirs.

The official code exchanges in this direction alone and cannot be run; shapes follow its intention. Inferred: the other
direction (``directions`` with 'image'), in which a patch of low score takes the mean of the seeds projected into it,
through an MLP, together with its positional embedding (residual positional alignment); scores of patches multiply what
the attention of the next block sees, as in equation 4. In the point branch residual positional alignment is in the
decoder: it adds an embedding of the seed's place to key and value in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, ModuleDict, ModuleList
from torch import Tensor

from projects.token_fusion.exchange import THRESHOLD
from projects.token_fusion.losses import substituted_shares, token_sparsity_loss
from projects.token_fusion.score_net import TokenScoreNet

from .image_head import perceptron
from .projection import Places
from .vit import DetectionViT

DIRECTIONS = ('points', 'image')


@MODELS.register_module()
class PointImageExchange(BaseModule):
    """Score nets and MLPs of each layer; see the module's description.

    Args:
        num_layers: Decoder layers of the point branch.
        point_channels, image_channels: Widths of the tokens.
        directions: Which branches receive tokens: 'points' (official code), 'image', or both.
        threshold: Tokens with scores below it are replaced.
        scale_by_score: Whether kept tokens are multiplied by their score; without it score nets have no gradient but
            that of their own loss.
        detach: Whether tokens are handed over without gradient, so that each branch is trained by its own loss alone
            (official code).
        loss_weight: Lambda of the scores' l1 norm.
        reduction: See ``token_sparsity_loss``.
        keep_bias: See ``TokenScoreNet``.
    """

    def __init__(self, num_layers: int, point_channels: int = 288, image_channels: int = 192,
                 directions: Sequence[str] = ('points',), threshold: float = THRESHOLD, scale_by_score: bool = True,
                 detach: bool = True, loss_weight: float = 1e-3, reduction: str = 'sum', keep_bias: float = 0.,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not directions or set(directions) - set(DIRECTIONS):
            raise ValueError(f'PointImageExchange: directions={directions!r}, expected one or both of {DIRECTIONS}')
        self.threshold, self.scale_by_score, self.detach = threshold, scale_by_score, detach
        self.loss_weight, self.reduction, self.num_layers = loss_weight, reduction, num_layers
        widths = dict(points=(image_channels, point_channels), image=(point_channels, image_channels))
        self.score_nets = ModuleDict({
            name: ModuleList(TokenScoreNet(widths[name][1], keep_bias) for _ in range(num_layers))
            for name in DIRECTIONS if name in directions})
        # as in the official code: all layers as wide as the tokens that come in
        self.projections = ModuleDict({
            name: ModuleList(perceptron(*widths[name]) for _ in range(num_layers)) for name in self.score_nets})

    def begin(self, branch: DetectionViT, images: Tensor, places: Places, has_loss: bool = True) -> LayerwiseExchange:
        """A pass over images (B, V, 3, H, W) and the places of B * N seeds in them.

        Without a loss of its own the image branch runs without gradient, if tokens are handed over without it.
        """
        return LayerwiseExchange(self, branch, images, places, has_loss or not self.detach)


class LayerwiseExchange:
    """One pass of a batch: called before each decoder layer, in order, with the keys of the point branch.

    Attributes:
        tokens: (B * V, tokens, C) of the image branch, after the blocks that have run.
        scores: Branch name to a list of its scores in each layer, (B, N) or (B, V * patches).
        shares: Branch name to a list of scores of those tokens that can be replaced; inf for others.
    """

    def __init__(self, parts: PointImageExchange, branch: DetectionViT, images: Tensor, places: Places,
                 trained: bool) -> None:
        self.parts, self.branch, self.places = parts, branch, places
        self.trained = trained and torch.is_grad_enabled()
        self.batch, self.views = images.shape[:2]
        with torch.set_grad_enabled(self.trained):
            self.tokens, self.grid = branch.embed(images.flatten(0, 1))
        self.num_patches = self.grid[0] * self.grid[1]
        self.scores = {name: [] for name in parts.score_nets}
        self.shares = {name: [] for name in parts.score_nets}

    def __call__(self, layer: int, keys: Tensor) -> Tensor:
        """Run the blocks of a layer, then exchange: keys (B, N, C) of the same."""
        parts, step = self.parts, len(self.branch.blocks) // self.parts.num_layers
        scale = self.to_image(layer, keys) if 'image' in parts.score_nets else None
        with torch.set_grad_enabled(self.trained):
            self.tokens = self.branch.run(self.tokens, layer * step, (layer + 1) * step, self.grid, scale)
        return self.to_points(layer, keys) if 'points' in parts.score_nets else keys

    def handed(self, tokens: Tensor) -> Tensor:
        """Tokens as the other branch gets them."""
        return tokens.detach() if self.parts.detach else tokens

    def patches(self) -> Tensor:
        """Tokens of all patches of a sample, (B, V * patches, C)."""
        return self.tokens[:, 1:1 + self.num_patches].reshape(self.batch, self.views * self.num_patches, -1)

    def score(self, name: str, layer: int, tokens: Tensor, replaceable: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, N) of tokens (B, N, C), and which of those that are replaceable (B, N) are to be replaced."""
        scores = self.parts.score_nets[name][layer](tokens)
        self.scores[name].append(scores)
        self.shares[name].append(scores.detach().masked_fill(~replaceable, torch.inf))
        return scores, replaceable & (scores < self.parts.threshold)

    def to_points(self, layer: int, keys: Tensor) -> Tensor:
        """Keys (B, N, C) with those of low score replaced by image tokens."""
        scores, replaced = self.score('points', layer, keys, self.places.visible)
        if self.parts.scale_by_score:
            keys = keys * scores[..., None]
        index = self.places.index[..., None].expand(-1, -1, self.branch.embed_dims)
        seen = self.parts.projections['points'][layer](self.handed(self.patches()).gather(1, index))
        return torch.where(replaced[..., None], seen, keys)

    def to_image(self, layer: int, keys: Tensor) -> Tensor | None:
        """Replace patches of low score by seeds; returns what multiplies the attention's input, (B * V, tokens)."""
        patches = self.patches()
        mean, hit = self.mean_of_seeds(self.handed(keys))
        scores, replaced = self.score('image', layer, patches, hit)
        position = self.branch.positions(self.grid).detach()[:, 1:1 + self.num_patches]
        brought = self.parts.projections['image'][layer](mean) + position.repeat(1, self.views, 1)
        patches = torch.where(replaced[..., None], brought, patches).reshape(-1, self.num_patches, patches.shape[2])
        self.tokens = torch.cat([self.tokens[:, :1], patches, self.tokens[:, 1 + self.num_patches:]], 1)
        if not self.parts.scale_by_score:
            return None
        scale = torch.where(replaced, 1., scores).reshape(-1, self.num_patches)
        return torch.nn.functional.pad(scale, (1, self.tokens.shape[1] - 1 - self.num_patches), value=1.)

    def mean_of_seeds(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Mean key of the seeds in each patch, (B, V * patches, C), and which patches have any."""
        weight = self.places.visible.to(keys.dtype)
        index = self.places.index
        count = keys.new_zeros(self.batch, self.views * self.num_patches).scatter_add(1, index, weight)
        total = keys.new_zeros(*count.shape, keys.shape[2]).scatter_add(
            1, index[..., None].expand_as(keys), keys * weight[..., None])
        return total / count.clamp(min=1)[..., None], count > 0

    def detections(self) -> Tensor:
        """Detection tokens of all views, (B * V, Q, C), after the last layer."""
        return self.branch.detections(self.tokens)

    def losses(self) -> dict[str, Tensor]:
        """``loss_tokens``, and the shares of replaced tokens in per cent, for the log."""
        flat = [score[None] for scores in self.scores.values() for score in scores]
        losses = dict(loss_tokens=token_sparsity_loss(flat, self.parts.loss_weight, self.parts.reduction))
        for name, scores in self.shares.items():
            losses.update(substituted_shares([score[None] for score in scores], range(len(scores)),
                                             self.parts.threshold, [name]))
        return losses
