"""Renames the entries of the released DyFPN checkpoint (Mingjian-Zhu/DyFPN, ``DyFPN_B_CNNGate.pth``, mmdet 2.3).

=================================  ===========================================
released, level i, branch k        here
=================================  ===========================================
neck.lateral_convs.{7 i + k}.*     neck.lateral_convs.{i}.branches.{k}.*
neck.skip_lateral_convs.{i}.*      neck.lateral_convs.{i}.skip.*
neck.gate_{i}.fc1.*                neck.gates.levels.{i}.0.*
neck.gate_{i}.fc2.*                neck.gates.levels.{i}.2.*
everything else                    the same: mmdet 3.3 kept the names of Faster R-CNN
=================================  ===========================================
"""

import re

from .laterals import BRANCHES

LATERAL = re.compile(r'^neck\.lateral_convs\.(\d+)\.conv\.')
SKIP = re.compile(r'^neck\.skip_lateral_convs\.(\d+)\.')
GATE = re.compile(r'^neck\.gate_(\d+)\.fc([12])\.')


def _renamed(name):
    name = name.removeprefix('module.')
    if match := LATERAL.match(name):
        level, branch = divmod(int(match[1]), len(BRANCHES))
        return f'neck.lateral_convs.{level}.branches.{branch}.conv.{name[match.end():]}'
    if match := SKIP.match(name):
        return f'neck.lateral_convs.{match[1]}.skip.{name[match.end():]}'
    if match := GATE.match(name):
        return f'neck.gates.levels.{match[1]}.{0 if match[2] == "1" else 2}.{name[match.end():]}'
    return name


def convert_released(state_dict):
    """The state of a detector with ``DyFPN`` (structure B, ``PoolFCGate``) from one of the official code.

    Args:
        state_dict (dict[str, Tensor]): as released.

    Returns:
        dict[str, Tensor]: renamed, same tensors and order.

    Raises:
        ValueError: not 7 branches, a 1x1 layer and a gate of two layers for each level; the message counts what
            was found.
    """
    names = [name.removeprefix('module.') for name in state_dict]
    branches, skips = ({match[1] for match in map(pattern.match, names) if match} for pattern in (LATERAL, SKIP))
    gates = {(match[1], match[2]) for match in map(GATE.match, names) if match}
    levels = len(skips)
    if not levels or (len(branches), len(gates)) != (len(BRANCHES) * levels, 2 * levels):
        raise ValueError(f'found {len(branches)} neck.lateral_convs, {levels} neck.skip_lateral_convs and {len(gates)} '
                         'linear layers of neck.gate_*: expected 28, 4 and 8, the state_dict of the official '
                         'DyFPN_B_CNNGate')
    return {_renamed(name): value for name, value in state_dict.items()}
