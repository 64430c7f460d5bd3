"""Geometric self-ensemble x8 (arXiv 1707.02921, section 3.4): the "+" behind a method's name."""


def self_ensemble(network, image):
    """Mean of a network's outputs for the eight flips and transposes of an image, each turned back.

    In the order of the EDSR code: flip of the width, flip of the height, transpose; undone in reverse. The mean is
    taken before anything is clamped or rounded.

    Args:
        network (callable): Maps (N, C, H, W) to (N, C', sH, sW).
        image (Tensor): (N, C, H, W).

    Returns:
        Tensor: (N, C', sH, sW).
    """
    total = 0
    for transpose in (False, True):
        for flips in ((), (-1,), (-2,), (-1, -2)):
            turned = image.flip(flips)
            output = network(turned.mT).mT if transpose else network(turned)
            total = total + output.flip(flips)
    return total / 8
