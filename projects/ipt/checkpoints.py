"""Fitting IPT weights of several tasks, and of the released files, to the model at hand.

Both work inside `load_state_dict`, so that `load_from`, `Pretrained` and `tools/test.py` take such files as they are.
"""

import re

from projects.runtime.errors import CheckpointError


def keep_tasks(state_dict, prefix, tasks, source_tasks):
    """Cut a multi-task state dict down to some of its tasks, in place.

    Nothing happens if it holds no task parts, or as many tasks as are wanted: these are taken to be the same.

    Args:
        state_dict (dict): Weights.
        prefix (str): What the names of the network's weights begin with.
        tasks (Sequence[str]): Tasks to keep, in the order that they shall have.
        source_tasks (Sequence[str]): Tasks of the state dict, in its order.

    Raises:
        CheckpointError: neither number of tasks fits, or a task to keep is not among them.
    """
    part = re.compile(re.escape(prefix) + r'(head|tail)\.(\d+)\.(.+)')
    found = {key: match for key in state_dict if (match := part.fullmatch(key))}
    count = len({match[2] for match in found.values() if match[1] == 'head'})
    if count in (0, len(tasks)):
        return
    missing = [task for task in tasks if task not in source_tasks]
    if count != len(source_tasks) or missing:
        raise CheckpointError(
            f'The weights have heads of {count} tasks, and the network is for {len(tasks)} ({", ".join(tasks)}). Which '
            'of them to take follows from model.generator.checkpoint_tasks, which must name the tasks of the weights '
            f'in their order; it names {len(source_tasks)} ({", ".join(source_tasks)}).')
    order = [source_tasks.index(task) for task in tasks]
    moved = {f'{prefix}{match[1]}.{order.index(int(match[2]))}.{match[3]}': state_dict[key]
             for key, match in found.items() if int(match[2]) in order}
    for key in found:
        del state_dict[key]
    state_dict.update(moved)
    queries = f'{prefix}body.query_embed.weight'
    if queries in state_dict:
        state_dict[queries] = state_dict[queries][order]


def under_generator(state_dict, prefix):
    """Put the weights of a bare network, as the released files hold them, under `generator.`, in place."""
    own = [key for key in state_dict if key.startswith(prefix)]
    names = [key[len(prefix):] for key in own]
    if any(name.startswith('generator.') for name in names) or not any(name.startswith('body.') for name in names):
        return
    for key, name in zip(own, names, strict=True):
        state_dict[f'{prefix}generator.{name}'] = state_dict.pop(key)
