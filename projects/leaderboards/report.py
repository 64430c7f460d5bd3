"""What a check of a submission hands back: a report, or one error that lists every problem."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES_PER_PROBLEM = 3


class SubmissionError(ValueError):
    """A submission cannot be written, or would not be accepted.

    The message has one line per kind of problem; ``problems`` holds the same lines as a list.
    """

    def __init__(self, subject: str | Path, problems: list[str]) -> None:
        self.problems = list(problems)
        if len(self.problems) == 1:
            message = f'{subject}: {self.problems[0]}'
        else:
            lines = [f'  {i}. {text}' for i, text in enumerate(self.problems, 1)]
            message = '\n'.join([f'{subject}: {len(lines)} problems', *lines])
        super().__init__(message)


class Problems:
    """Collects problems by kind, so that a fault in two million boxes stays one line.

    Args:
        subject: The file or input that is being checked; begins the error message.
    """

    def __init__(self, subject: str | Path) -> None:
        self.subject = subject
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str | None = None, count: int = 1) -> None:
        """Note ``count`` more cases of ``kind``: what was expected and the way out, one sentence.

        ``example`` names the place and the value; the first few of each kind are shown.
        """
        self._counts[kind] = self._counts.get(kind, 0) + count
        examples = self._examples.setdefault(kind, [])
        if example is not None and len(examples) < EXAMPLES_PER_PROBLEM:
            examples.append(example)

    def lines(self) -> list[str]:
        """One line per kind, in the order met, with count and examples."""
        return [self._line(kind, count) for kind, count in self._counts.items()]

    def _line(self, kind: str, count: int) -> str:
        examples = self._examples[kind]
        if not examples:
            return kind
        more = ', ...' if count > len(examples) else ''
        times = f'{count} times: ' if count > 1 else ''
        return f'{kind} [{times}{"; ".join(examples)}{more}]'

    def raise_if_any(self) -> None:
        """Raise :class:`SubmissionError` with everything noted so far, if there is anything."""
        if self._counts:
            raise SubmissionError(self.subject, self.lines())


@dataclass(frozen=True)
class Report:
    """An archive that passed its checks.

    Attributes:
        track: Name of the track.
        path: The archive.
        entries: Number of detections (or files, for tracks of images) in it.
        images: Number of images that have at least one entry.
        size: Size of the archive in bytes.
        sha256: Hexadecimal digest of the archive.
        warnings: What the server accepts but a user should know, skipped checks included.
    """

    track: str
    path: Path
    entries: int
    images: int
    size: int
    sha256: str
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f'archive  {self.path}',
            f'track    {self.track}',
            f'entries  {self.entries}',
            f'images   {self.images}',
            f'size     {self.size} bytes',
            f'sha256   {self.sha256}',
        ]
        return '\n'.join(lines + [f'warning  {text}' for text in self.warnings])
