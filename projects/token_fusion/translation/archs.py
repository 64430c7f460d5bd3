"""Sizes of the generators and discriminators of TokenFusion's image translation, by the names of the official code."""

from __future__ import annotations

from projects.runtime.errors import ConfigError

_WIDE, _NARROW = (64, 128, 256, 512, 1024), (32, 64, 128, 256, 512)
_HEADS, _SR_RATIOS = (1, 2, 4, 8, 16), (16, 8, 4, 2, 1)

ARCHS = {
    name: dict(embed_dims=dims, num_heads=_HEADS, depths=depths, sr_ratios=_SR_RATIOS)
    for name, dims, depths in (
        ('b0', _NARROW, (2, 2, 2, 2, 2)),
        ('b1', _WIDE, (2, 2, 2, 2, 2)),  # Ti of the paper
        ('b2', _WIDE, (3, 4, 4, 6, 3)),  # S of the paper
        ('b3', _WIDE, (3, 4, 4, 18, 3)),
        ('b4', _WIDE, (3, 8, 8, 27, 3)),
        ('b5', _WIDE, (3, 6, 6, 40, 3)),
        # for images of 64 x 64 pixels on a CPU (inferred)
        ('tiny', (16, 32, 48, 64, 96), (1, 1, 1, 1, 1)),
    )
}
ARCHS['tiny'] |= dict(num_heads=(1, 2, 2, 4, 4), sr_ratios=(8, 4, 2, 1, 1))


def arch_settings(arch: str | dict) -> dict:
    """Widths, heads, depths and reductions of the encoder's stages, with kernels and strides, for ``FusionEncoder``.

    Args:
        arch: A name, or a dict with ``embed_dims``, ``num_heads``, ``depths`` and ``sr_ratios``.

    Raises:
        ConfigError: an unknown name or a key that is missing or too many.
    """
    if isinstance(arch, str) and arch not in ARCHS:
        raise ConfigError(f'arch={arch!r}: expected one of {", ".join(ARCHS)}, or a dict')
    settings = ARCHS[arch] if isinstance(arch, str) else dict(arch)
    if settings.keys() != ARCHS['b2'].keys():
        raise ConfigError(f'arch={arch!r}: expected a dict with the keys {", ".join(ARCHS["b2"])}')
    stages = len(settings['embed_dims'])
    return settings | dict(kernels=(3,) * stages, strides=(2,) * stages)
