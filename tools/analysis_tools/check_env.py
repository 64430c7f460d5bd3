"""Says what this Python and machine lack for the suite, and the command that mends each lack.

Exit status 0: nothing that is needed is missing; 1: something is. What is marked `optional` never counts. It imports
nothing but the standard library until it knows that the rest is there.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

MAKE = 'tools/make_env.sh'
EXTRAS = ('det', 'seg', 'det3d', 'prune')
CONSTRAINED = 'pip install -c constraints.txt'
EPILOG = """
All that the suite can use:

  python tools/analysis_tools/check_env.py

What detection alone needs, and the data of one config:

  python tools/analysis_tools/check_env.py configs/fcos_r50.py --extras det
"""


@dataclass
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name.
        ok: whether it is as it should be.
        note: version, place or reason.
        command: what mends it.
        optional: whether the suite works without.
    """

    what: str
    ok: bool
    note: str = ''
    command: str = ''
    optional: bool = False

    def text(self) -> str:
        """A line, and where something is missing another with the command."""
        mark = 'ok' if self.ok else 'optional' if self.optional else 'MISSING'
        line = f'{mark:9} {self.what}' + (f': {self.note}' if self.note else '')
        return line if self.ok else f'{line}\n{"":9}   mend: {self.command}'


def check_import(module: str, what: str, command: str, optional: bool = False) -> Finding:
    """Whether a module can be imported, with its version."""
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a broken build can raise nearly anything
        return Finding(what, False, f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}',
                       command, optional)
    return Finding(what, True, str(getattr(found, '__version__', '')))


def check_platform() -> Iterator[Finding]:
    """Python and what everything rests on."""
    version = platform.python_version()
    yield Finding('Python', (3, 10) <= sys.version_info[:2] <= (3, 12), f'{version}; 3.10 to 3.12 are tested',
                  f'PYTHON=/path/to/python3.11 {MAKE}')
    yield check_import('torch', 'torch', f'{CONSTRAINED} torch')
    yield check_import('numpy', 'numpy', f'{CONSTRAINED} numpy')
    yield check_import('pkg_resources', 'setuptools below 81 (pkg_resources)', f'{CONSTRAINED} setuptools')
    yield check_import('cv2', 'OpenCV', f'{CONSTRAINED} --no-deps --force-reinstall opencv-python-headless')
    yield check_import('mmengine', 'mmengine', f'{CONSTRAINED} mmengine')


def missing_of(extra: str, requirements: list[str]) -> list[str]:
    """Requirements of an extra (empty: of the package) that are not installed in a version that fits."""
    from packaging.requirements import Requirement

    missing = []
    for requirement in map(Requirement, requirements):
        own = 'extra' in str(requirement.marker or '')
        if own != bool(extra) or requirement.marker and not requirement.marker.evaluate(dict(extra=extra)):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(str(requirement).split(';')[0].strip())
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            missing.append(f'{str(requirement).split(";")[0].strip()} (found {found})')
    return missing


def check_extras(extras: list[str]) -> Iterator[Finding]:
    """The suite itself, and the packages that each of its extras names."""
    install = f'{CONSTRAINED} --no-build-isolation -e'
    try:
        requirements = importlib.metadata.requires('mmdownstream') or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding('mmdownstream', False, 'not installed for this Python, so its extras are not known',
                      f"{install} '.[{','.join(extras)}]'")
        return
    known = importlib.metadata.metadata('mmdownstream').get_all('Provides-Extra') or []
    for extra in ('', *extras):
        if extra and extra not in known:
            yield Finding(f'extra {extra}', False, f'no such extra; there are {", ".join(known)}', '--extras NAME')
            continue
        missing = missing_of(extra, requirements)
        what = f'packages of the extra {extra}' if extra else 'packages of mmdownstream'
        target = f"'.[{extra}]'" if extra else '.'
        yield Finding(what, not missing, f'lacking {", ".join(missing)}' if missing else '', f'{install} {target}')


def check_operators(extras: list[str]) -> Iterator[Finding]:
    """What is compiled: mmcv's operators, the adder kernels."""
    if {'det', 'seg', 'det3d'} & set(extras):
        yield check_import('mmcv.ops', "mmcv's operators", f'{MAKE}   (compiles mmcv against this torch)')
    yield check_import('projects.adder._native', 'compiled adder kernels',
                       'pip install --no-build-isolation -e .   (needs g++; without, adder layers are slower)', True)


def check_gloo() -> Iterator[Finding]:
    """Whether processes on this machine can be connected, by a group of one."""
    what, mend = 'gloo, for several processes without GPUs', 'export GLOO_SOCKET_IFNAME=lo   (or another of `ip link`)'
    try:
        from torch import distributed
    except ImportError:
        return  # reported already
    try:
        with tempfile.TemporaryDirectory() as folder:
            distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=0, world_size=1)
            distributed.destroy_process_group()
    except Exception as error:  # of gloo's own kind, or a torch without it
        yield Finding(what, False, str(error).splitlines()[0], mend)
    else:
        yield Finding(what, True)


def check_writable() -> Iterator[Finding]:
    """Whether results and temporary files can be written."""
    for what, folder, mend in (
            ('work_dirs/ can be written', Path('work_dirs'), 'tools/train.py CONFIG --work-dir /a/folder/of/yours'),
            ('temporary files can be written', Path(tempfile.gettempdir()), 'export TMPDIR=/a/folder/of/yours')):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(existing).free / 2 ** 30
        yield Finding(what, os.access(existing, os.W_OK), f'{existing}, {free:.0f} GiB free', mend)


def check_machine() -> Iterator[Finding]:
    """What only some uses need."""
    try:
        import torch

        gpus = torch.cuda.device_count()
        yield Finding('GPU', gpus > 0, f'{gpus} visible; everything runs on the CPU as well',
                      'look at CUDA_VISIBLE_DEVICES, and that torch is no CPU build', True)
    except ImportError:
        pass
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    yield Finding('chromium, for the tests of reports', browser is not None, browser or '', 'apt-get install chromium',
                  True)


def check_data() -> Finding:
    """Which data sets of the base configs lie where these look."""
    base, roots = Path(os.environ.get('MMDOWNSTREAM_DATA', 'data')), set()
    for path in (ROOT / 'configs' / '_base_' / 'datasets').glob('*.py'):
        text = path.read_text(encoding='utf-8')
        roots.update(re.findall(r"^data_root = '\{\{\$MMDOWNSTREAM_DATA:data\}\}/(.+?)/?'", text, re.MULTILINE))
    there = [root for root in sorted(roots) if (base / root).is_dir()]
    lacking = [root for root in sorted(roots) if root not in there]
    note = f'there: {", ".join(there) or "none"}; not there: {", ".join(lacking) or "none"}'
    return Finding(f'data sets below {base}/', not lacking, note,
                   'data/README.md says where each comes from; data elsewhere: export MMDOWNSTREAM_DATA=/path; drawn '
                   'ones: tools/dataset_converters/make_mini_*.py', True)


def check_config(path: str) -> Finding:
    """Whether a config can be read with what is installed, and has its data."""
    from projects.runtime.config_files import check_scope, load_config
    from projects.runtime.data_paths import check_data_paths
    from projects.runtime.errors import UserError

    try:
        cfg = load_config(path)
        check_scope(cfg)
        check_data_paths(cfg, ('train', 'val', 'test'))
    except UserError as error:
        return Finding(path, False, str(error), 'as the message says')
    return Finding(path, True, 'can be read, and its data are there')


def version_note() -> Iterator[Finding]:
    """Versions that differ from the tested ones."""
    try:
        from projects.runtime.environment import version_report
    except ImportError:
        return
    report = version_report()
    yield Finding('versions', report is None, report or 'as tested', f'{CONSTRAINED} PACKAGE', True)


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    """All that is looked at, in the order in which it is mended."""
    yield from check_platform()
    yield from check_extras(args.extras)
    yield from check_operators(args.extras)
    yield from version_note()
    yield from check_gloo()
    yield from check_writable()
    yield from check_machine()
    yield check_data()
    for config in args.configs:
        yield check_config(config)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='configs that must have their data')
    parser.add_argument('--extras', nargs='+', default=list(EXTRAS), metavar='EXTRA',
                        help=f'extras of setup.py that are needed (default: {" ".join(EXTRAS)})')
    args = parser.parse_args(argv)
    missing = 0
    for finding in findings(args):
        print(finding.text(), flush=True)
        missing += not finding.ok and not finding.optional
    print(f'\n{missing} missing' if missing else '\nNothing that is needed is missing.')
    return int(missing > 0)


if __name__ == '__main__':
    sys.exit(main())
