"""Running a network on an image in parts, so that memory depends on the part and not on the image."""

import torch


def tiled(network, image, tile, overlap):
    """Run a network tile by tile.

    Each tile contributes a part of `tile` x `tile` input pixels and is run with up to `overlap` pixels of its
    surroundings on each side, cut off afterwards: parts abut, nothing is blended. The border of the image is the border
    of its tiles, so the network pads there as it does for the whole image. Where `overlap` is at least the radius of
    the network's receptive field, the result is that of the whole image, up to the rounding of sums.

    Args:
        network (callable): Maps (N, C, H, W) to (N, C', sH, sW) with one whole s for both sides.
        image (Tensor): (N, C, H, W).
        tile (int): Side of a part, in input pixels.
        overlap (int): Surroundings on each side, in input pixels.

    Returns:
        Tensor: (N, C', sH, sW), on the image's device.
    """
    height, width = image.shape[-2:]
    out = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, inner_rows = _window(top, tile, overlap, height)
            columns, inner_columns = _window(left, tile, overlap, width)
            window = image[..., rows, columns]
            part = network(window)
            scale = part.shape[-1] // window.shape[-1]
            if out is None:
                out = torch.empty(*part.shape[:-2], scale * height, scale * width, dtype=part.dtype,
                                  device=image.device)
            bottom, right = min(top + tile, height), min(left + tile, width)
            out[..., scale * top:scale * bottom, scale * left:scale * right] = part[
                ..., _times(inner_rows, scale), _times(inner_columns, scale)]
    return out


def _window(start, tile, overlap, length):
    """Along one side: what the network gets, and within it the part that counts."""
    stop = min(start + tile, length)
    first = max(0, start - overlap)
    return slice(first, min(length, stop + overlap)), slice(start - first, stop - first)


def _times(part, scale):
    return slice(part.start * scale, part.stop * scale)
