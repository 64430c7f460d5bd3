"""Which versions of the platform are installed, compared with the ones tested together.

Other versions may well work, so nothing is refused: what differs is named once, in one warning.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

TESTED = {
    'torch': '2.13.0',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmsegmentation': '1.2.2',
    'mmdet3d': '1.4.0',
    'numpy': '1.26.4',
}
"""Tested versions by distribution name; packages that are not installed are left out of reports."""


def is_main_rank() -> bool:
    """Whether this process speaks for the run, judged before any process group exists."""
    return int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0'))) == 0


def say(message: str) -> None:
    """Print a line for the person at the terminal, from the first process only."""
    if is_main_rank():
        print(message, flush=True)


def installed_versions() -> dict[str, str]:
    """Installed versions of the tested packages, without build tags such as `+cpu`."""
    found = {}
    for name in TESTED:
        try:
            found[name] = version(name).split('+')[0]
        except PackageNotFoundError:
            continue
    return found


def version_report(found: dict[str, str] | None = None) -> str | None:
    """One sentence on versions that differ from the tested ones, or None if none does."""
    found = installed_versions() if found is None else found
    differing = [f'{name} {number} (tested: {TESTED[name]})' for name, number in found.items()
                 if number != TESTED[name]]
    if not platform.python_version().startswith(('3.10', '3.11', '3.12')):
        differing.append(f'Python {platform.python_version()} (tested: 3.10 to 3.12)')
    if not differing:
        return None
    return (f'Note: installed versions differ from the tested ones: {", ".join(differing)}. '
            'If something breaks, try the versions of constraints.txt.')
