"""Counting what a data set drops, for one warning per data set."""

from dataclasses import dataclass, field


@dataclass
class DroppedAnnotations:
    """Annotations that cannot be used, by reason, with the first one of each as an example."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        """Count one annotation."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, example)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def summary(self, source: str) -> str:
        """The warning: total, and for every reason its count and example."""
        total = sum(self.counts.values())
        lines = [f'- {count} {reason}, for example {self.examples[reason]}'
                 for reason, count in self.counts.items()]
        noun = 'annotation is' if total == 1 else 'annotations are'
        return f'{source}: {total} {noun} left out:\n' + '\n'.join(lines)
