"""What an mmengine log says beside its figures: versions, seed, and how long the run took."""

import re
from datetime import datetime, timedelta
from pathlib import Path

_EDGE = 1 << 18  # bytes read from either end of a log; the environment fills a few thousand
_STAMP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine', re.M)
_FACT = re.compile(r'^    (?P<name>Python|PyTorch|CUDA available|GPU \d[\d,]*|OpenCV|MMEngine|seed|'
                   r'Distributed training|GPU number): (?P<value>.*)$', re.M)
_TIME = '%Y/%m/%d %H:%M:%S'


def _ends(path: Path) -> tuple[str, str]:
    """The beginning and the end of a text file."""
    with open(path, 'rb') as file:
        head = file.read(_EDGE)
        file.seek(max(0, path.stat().st_size - _EDGE))
        tail = file.read()
    return head.decode('utf-8', 'replace'), tail.decode('utf-8', 'replace')


def read_log(path: Path) -> tuple[dict[str, str], timedelta, bool]:
    """Facts of a log file, the time between its first and its last line, and whether the run says it finished."""
    head, tail = _ends(path)
    facts = {match['name']: match['value'].split(' (main,')[0].strip() for match in _FACT.finditer(head)}
    stamps = _STAMP.findall(head)[:1] + _STAMP.findall(tail)[-1:]
    first, last = (datetime.strptime(stamp, _TIME) for stamp in (stamps[0], stamps[-1])) if stamps else (None, None)
    return facts, last - first if stamps else timedelta(), '- INFO - Finished.' in tail


def duration(span: timedelta) -> str:
    """A time span for people: `2 h 05 min`, `7 min 28 s` or `12 s`."""
    seconds = round(span.total_seconds())
    if seconds >= 3600:
        return f'{seconds // 3600} h {seconds % 3600 // 60:02d} min'
    return f'{seconds // 60} min {seconds % 60:02d} s' if seconds >= 60 else f'{seconds} s'
