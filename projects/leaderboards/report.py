"""What a check of a submission hands back: a report, or one error that lists every problem."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES_PER_PROBLEM = 10
_LONGEST_EXAMPLE = 240  # characters; names in an archive may have thousands


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


class Fault(Exception):
    """A part of a submission cannot be used, which :meth:`Problems.note` takes down.

    Args:
        kind: What was expected and the way out, as for :meth:`Problems.add`.
        detail: What was found, '' if the place says it all.
    """

    def __init__(self, kind: str, detail: str = '') -> None:
        super().__init__(f'{kind} ({detail})' if detail else kind)
        self.kind, self.detail = kind, detail


class Problems:
    """Collects problems by kind, so that a fault in two million boxes stays one line.

    Kinds must not hold values of the file, or each case would be a line, and kept in memory.

    Args:
        subject: The file or input that is being checked; begins the error message.
    """

    def __init__(self, subject: str | Path) -> None:
        self.subject = subject
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str | None = None, count: int = 1) -> None:
        """Note ``count`` more cases of ``kind``: what was expected and the way out, one sentence.

        ``example`` names the place and the value; the first ten of each kind are shown.
        """
        self._counts[kind] = self._counts.get(kind, 0) + count
        examples = self._examples.setdefault(kind, [])
        if example is not None and len(examples) < EXAMPLES_PER_PROBLEM:
            examples.append(_printable(example))

    def note(self, fault: Fault, where: str) -> None:
        """Note a fault at its place."""
        self.add(fault.kind, f'{where}: {fault.detail}' if fault.detail else where)

    def lines(self) -> list[str]:
        """One line per kind, in the order met, with count and examples."""
        return [self._line(kind, count) for kind, count in self._counts.items()]

    def _line(self, kind: str, count: int) -> str:
        examples = self._examples[kind]
        if not examples:
            return kind
        more = f'; and {count - len(examples)} more' if count > len(examples) else ''
        times = f'{count} times: ' if count > 1 else ''
        return f'{kind} [{times}{"; ".join(examples)}{more}]'

    def raise_if_any(self) -> None:
        """Raise :class:`SubmissionError` with everything noted so far, if there is anything."""
        if self._counts:
            raise SubmissionError(self.subject, self.lines())


def _printable(text: str) -> str:
    """One short line that every terminal takes: names in archives may hold line ends and broken characters."""
    text = text if len(text) <= _LONGEST_EXAMPLE else f'{text[:_LONGEST_EXAMPLE]}...'
    return ''.join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


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
        checks: What was checked, a phrase each.
    """

    track: str
    path: Path
    entries: int
    images: int
    size: int
    sha256: str
    warnings: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f'archive  {self.path}',
            f'track    {self.track}',
            f'entries  {self.entries}',
            f'images   {self.images}',
            f'size     {self.size} bytes',
            f'sha256   {self.sha256}',
        ]
        lines += [f'checked  {text}' for text in self.checks]
        return '\n'.join(lines + [f'warning  {text}' for text in self.warnings])
