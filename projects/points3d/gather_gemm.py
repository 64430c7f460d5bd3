"""The arithmetic of sparse convolutions: gather rows, multiply by one kernel position's matrix, add up by output row.

    out[o] = sum_k  in[rulebook[k, o]] W_k

Gathering costs memory traffic and the products cost arithmetic; what is left is the sum. It is taken over the products
in a fixed order by ``embedding_bag``, which writes each output row once. So results do not depend on the number of
threads, and on a CPU this is four times as fast as adding row by row (`PERFORMANCE.md`). The forward pass saves
nothing but the inputs.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class _Workspace:
    """Rows for one tile at a time, allocated once a call: fresh memory costs a page fault every 4 KiB."""

    def __init__(self, like, plan, channels):
        self.rows = like.new_empty(max((len(tile.sources) for tile in plan.tiles), default=0), channels)

    def take(self, count):
        return self.rows[:count]

    def gather(self, features, rows):
        return torch.index_select(features, 0, rows, out=self.take(len(rows)))


def _multiply(tile, positions, gathered, matrices, products):
    """products[p] = gathered[p] @ matrices[kernel position of p]; matrices is a list of (in, out)."""
    for position, rows, out in zip(positions, gathered.split(tile.counts), products.split(tile.counts), strict=True):
        if len(rows):
            torch.mm(rows, matrices[position], out=out)


def _sum_by_row(tile, products, output):
    """output[row] = sum of the products of each of the tile's output rows."""
    if len(products):
        output[tile.start:tile.stop] = F.embedding_bag(tile.order, products, tile.offsets, mode='sum')
    else:
        output[tile.start:tile.stop] = 0


class _GatherGemm(torch.autograd.Function):
    """features (N, in), weight (out, K, in), plan of each direction -> (M, out)."""

    @staticmethod
    def forward(ctx, features, weight, forward, backward):
        ctx.save_for_backward(features, weight)
        ctx.plan = backward
        matrices = weight.permute(1, 2, 0).unbind(0)
        output = features.new_empty(forward.num_rows, len(weight))
        inputs = _Workspace(features, forward, features.shape[1])
        outputs = _Workspace(features, forward, len(weight))
        with torch.autocast(features.device.type, enabled=False):
            for tile in forward.tiles:
                products = outputs.take(len(tile.sources))
                _multiply(tile, forward.positions, inputs.gather(features, tile.sources), matrices, products)
                _sum_by_row(tile, products, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        features, weight = ctx.saved_tensors
        grad_output = grad_output.contiguous()
        plan, matrices = ctx.plan, weight.unbind(1)
        grad_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grads = _Workspace(features, plan, len(weight))
        inputs = _Workspace(features, plan, features.shape[1])  # first for products, then for gathered inputs
        with torch.autocast(features.device.type, enabled=False):
            for tile in plan.tiles:
                gathered = grads.gather(grad_output, tile.sources)
                if grad_features is not None:
                    products = inputs.take(len(tile.sources))
                    _multiply(tile, plan.positions, gathered, matrices, products)
                    _sum_by_row(tile, products, grad_features)
                if grad_weight is not None:
                    rows = inputs.gather(features[tile.start:tile.stop], tile.rows)
                    _add_outer_products(tile, plan.positions, gathered, rows, grad_weight)
        return grad_features, grad_weight, None, None


def _add_outer_products(tile, positions, grads, inputs, grad_weight):
    """grad_weight[:, k] += sum of grad^T input over the products of position k."""
    for position, grad, rows in zip(positions, grads.split(tile.counts), inputs.split(tile.counts), strict=True):
        if len(rows):
            grad_weight[:, position].addmm_(grad.t(), rows)


def gather_gemm(features, weight, forward, backward):
    """A sparse convolution of given rulebook.

    Args:
        features (Tensor): (N, in). Half precision, also inside an autocast region, is computed in float32.
        weight (Tensor): (out, kx, ky, kz, in).
        forward, backward (Plan): from the N inputs to the M outputs, and from outputs to inputs.

    Returns:
        Tensor: (M, out), float32, or float64 if an input is; differentiable once.
    """
    dtype = torch.float64 if torch.float64 in (features.dtype, weight.dtype) else torch.float32
    weight = weight.to(dtype).contiguous().view(len(weight), -1, weight.shape[-1])
    return _GatherGemm.apply(features.to(dtype).contiguous(), weight, forward, backward)
