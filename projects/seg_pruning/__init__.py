"""Multi-task channel pruning of segmentation networks, in the spirit of MTP (arXiv 2007.08386).

Importing registers, in mmseg's registries, the search model `MultiTaskPruning`, the pruned models `PrunedSegmentor` and
`PrunedCascadeSegmentor` and the loop `MultiTaskTrainLoop`; in mmengine's, `PruneHook`, `ScoreOptimWrapperConstructor`
and `ReplicatedModel`.
"""

from .budget import Floors, search_budget
from .channel_graph import ChannelGraph
from .costs import CostModel, latency_in_turns
from .hooks import PruneHook
from .importance import taylor_importance, weight_importance
from .loops import MultiTaskTrainLoop
from .multi_task import MultiTaskPruning
from .pipeline import Budget, prune_to_budget, save_result
from .pruned_segmentor import PrunedCascadeSegmentor, PrunedSegmentor
from .removal import remove_channels
from .score_optim import ReplicatedModel, ScoreOptimWrapperConstructor
from .structure import PrunedStructure

__all__ = ['Budget', 'ChannelGraph', 'CostModel', 'Floors', 'MultiTaskPruning', 'MultiTaskTrainLoop',
           'PruneHook', 'PrunedCascadeSegmentor', 'PrunedSegmentor', 'PrunedStructure', 'ReplicatedModel',
           'ScoreOptimWrapperConstructor', 'latency_in_turns', 'prune_to_budget', 'remove_channels', 'save_result',
           'search_budget', 'taylor_importance', 'weight_importance']
