"""TokenFusion: transformers that exchange tokens between modalities (arXiv 2204.08721).

The parts that all tasks share are here; each task is a package of its own, so that none needs the libraries of another:

- ``projects.token_fusion.segmentation`` (mmseg): RGB-D semantic segmentation
- ``projects.token_fusion.translation`` (mmengine): image translation with several inputs
- ``projects.token_fusion.detection3d`` (mmdet3d): 3D detection from points and images

Importing one of them registers its classes; their names can be taken from here, too.
"""

from importlib import import_module

from .encoder import FusionEncoder, Scored
from .exchange import THRESHOLD, GroupAllocation, exchange_tokens
from .losses import substituted_shares, token_sparsity_loss
from .modality_layers import LearnedEnsemble, ModalityLayerNorm
from .score_net import ModalityScoreNets, TokenScoreNet

_TASKS = dict(TokenFusionMiT='segmentation', TokenFusionSegmentor='segmentation', TokenFusionTranslator='translation',
              TokenFusionGroupFree3D='detection3d')

__all__ = ['THRESHOLD', 'FusionEncoder', 'GroupAllocation', 'LearnedEnsemble', 'ModalityLayerNorm',
           'ModalityScoreNets', 'Scored', 'TokenScoreNet', 'exchange_tokens', 'substituted_shares',
           'token_sparsity_loss', *_TASKS]


def __getattr__(name: str):
    """A task's model, whose package is imported when it is first asked for."""
    if name not in _TASKS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_TASKS[name]}', __name__), name)
