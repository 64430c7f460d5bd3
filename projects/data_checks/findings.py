"""What a check finds: problems with their place, counts of classes, sizes."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Problem:
    """One broken thing.

    Attributes:
        kind: a few words, the same for all problems alike: 'truncated image', 'unknown class'.
        file: path of the file, or of the annotation file that names it.
        detail: what was found and what was expected.
        box: [x1, y1, x2, y2] in pixels, where the problem is a box that can be drawn.
    """

    kind: str
    file: str
    detail: str
    box: tuple[float, ...] | None = None


@dataclass
class Sample:
    """A sample to be read.

    Attributes:
        name: path of its main file, by which it is called.
        info: what the loading transforms start from.
        size: (width, height) that the annotations state, or None.
        boxes: usable boxes, (class name, x1, y1, x2, y2).
        problems: what is wrong already in the annotations.
    """

    name: str
    info: dict[str, Any]
    size: tuple[int, int] | None = None
    boxes: list[tuple[str, float, float, float, float]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Reading:
    """What reading a sample gave; it travels between processes, so it holds no images.

    Attributes:
        problems: what is wrong with its files.
        size: (width, height) in pixels, or (points,).
        classes: objects, pixels or points of each class.
        notes: further figures, e.g. the share of missing depth.
    """

    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, ...] | None = None
    classes: Counter = field(default_factory=Counter)
    notes: dict[str, float] = field(default_factory=dict)


def spread(values: list[float]) -> dict[str, float]:
    """Smallest, median and largest value."""
    return dict(min=float(min(values)), median=float(np.median(values)), max=float(max(values)))


@dataclass
class Findings:
    """All about one data set of a config.

    Attributes:
        key: where it stands in the config.
        kind: 'detection', 'segmentation', 'restoration' or 'points'.
        counted: what `classes` counts: 'objects', 'pixels', 'points'.
        samples: in their order, with the problems of their annotations.
        readings: of each sample.
        general: problems of no single sample.
        class_names: those of the config, in order.
    """

    key: str
    kind: str
    counted: str
    samples: list[Sample] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    general: list[Problem] = field(default_factory=list)
    class_names: tuple[str, ...] = ()

    def problems(self) -> list[Problem]:
        """All problems, those of the whole set first."""
        return self.general + [problem for sample, reading in zip(self.samples, self.readings, strict=True)
                               for problem in (*sample.problems, *reading.problems)]

    def worst(self, count: int) -> list[tuple[Sample, list[Problem]]]:
        """The samples with the most problems."""
        found = [(sample, sample.problems + reading.problems)
                 for sample, reading in zip(self.samples, self.readings, strict=True)]
        return sorted((item for item in found if item[1]), key=lambda item: -len(item[1]))[:count]

    def classes(self) -> dict[str, int]:
        """Objects, pixels or points of each class, classes of the config without any included."""
        total = Counter({name: 0 for name in self.class_names})
        for reading in self.readings:
            total.update(reading.classes)
        return dict(total)

    def summary(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        sizes = [reading.size for reading in self.readings if reading.size]
        intact = sum(not (sample.problems or reading.problems)
                     for sample, reading in zip(self.samples, self.readings, strict=True))
        result = dict(key=self.key, kind=self.kind, samples=len(self.samples), intact=intact,
                      counted=self.counted, classes=self.classes())
        if sizes and len(sizes[0]) == 2:
            result.update(width=spread([size[0] for size in sizes]), height=spread([size[1] for size in sizes]),
                          distinct_sizes=len(set(sizes)))
        elif sizes:
            result['points'] = spread([size[0] for size in sizes])
        boxes = [box[1:] for sample in self.samples for box in sample.boxes]
        if boxes:
            sides = [((x2 - x1) * (y2 - y1)) ** 0.5 for x1, y1, x2, y2 in boxes]
            result['box_side'] = spread(sides)
            result['small_medium_large'] = [sum(side < 32 for side in sides), sum(32 <= side < 96 for side in sides),
                                            sum(side >= 96 for side in sides)]
        for name in dict.fromkeys(name for reading in self.readings for name in reading.notes):
            result[name] = spread([reading.notes[name] for reading in self.readings if name in reading.notes])
        problems = self.problems()
        result.update(kinds=dict(Counter(problem.kind for problem in problems)),
                      problems=[asdict(problem) for problem in problems])
        return result
