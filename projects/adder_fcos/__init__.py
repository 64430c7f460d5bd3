"""Adder FCOS: object detection by layers that add (arXiv 2112.13608).

Importing registers ``AdderResNet``, ``RPAFPN`` and ``AdderRetinaSepBNHead`` in mmdet's registry, and what
``projects.adder`` registers.
"""

import projects.adder  # noqa: F401

from .adder_resnet import AdderResNet
from .retina_head import AdderRetinaSepBNHead
from .rpafpn import RPAFPN

__all__ = ['AdderResNet', 'AdderRetinaSepBNHead', 'RPAFPN']
