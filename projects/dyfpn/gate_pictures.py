"""Pictures of gate decisions: shares of images for each level's choices, and images at both ends of the cost."""

import io

import mmcv
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.fileio import get

from projects.runtime.atomic import write_atomic


def _save(figure, path, kind):
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format=kind, dpi=110)
    write_atomic(path, buffer.getvalue())


def draw_choices(used, names, strides, path):
    """Write stacked bars, one for each level, of the share of images that take each choice.

    Args:
        used (ndarray): (levels, choices), rows that sum to one.
        names (list[str]): of the choices.
        strides (list[int]): of the levels.
        path (Path): PNG file, written in one step.
    """
    figure = Figure(figsize=(1.5 + 1.2 * len(strides), 3.6), layout='constrained')
    axes = figure.add_subplot()
    bottom = np.zeros(len(strides))
    places = [f'stride {stride}' for stride in strides]
    for choice, name in enumerate(names):
        bars = axes.bar(places, used[:, choice], bottom=bottom, label=name, width=0.6)
        axes.bar_label(bars, [f'{100 * x:.0f} %' if x >= 0.05 else '' for x in used[:, choice]], label_type='center')
        bottom += used[:, choice]
    axes.set(ylabel='share of images', ylim=(0, 1), title='Choices of the gates')
    figure.legend(loc='outside right upper', fontsize='small')
    _save(figure, path, 'png')


def draw_images(images, strides, count, path):
    """Write the images with the dearest choices (upper row) and the cheapest (lower row).

    Args:
        images (list[dict]): ``path``, and ``shares``: cost in [0, 1] of all levels and of each level.
        strides (list[int]): of the levels.
        count (int): images in a row, at most.
        path (Path): JPEG file, written in one step.
    """
    order = sorted(images, key=lambda image: -image['shares'][0])
    count = min(count, len(order))
    figure = Figure(figsize=(3 * count, 5.6), layout='constrained')
    grid = figure.subplots(2, count, squeeze=False)
    for row, chosen, word in zip(grid, (order[:count], order[::-1][:count]), ('dearest', 'cheapest'), strict=True):
        for axes, image in zip(row, chosen, strict=True):
            axes.imshow(mmcv.imfrombytes(get(image['path']), channel_order='rgb'))
            levels = '  '.join(f's{stride} {share:.2g}' for stride, share in
                               zip(strides, image['shares'][1:], strict=True))
            axes.set_title(f'{word}: {image["shares"][0]:.2f}\n{levels}', fontsize='small')
            axes.axis('off')
    _save(figure, path, 'jpg')
