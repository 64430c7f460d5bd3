"""Reading a config file with its command-line options, with errors that a user can act on."""

import difflib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from .errors import ConfigError

DATA_OPTIONS = ('data_root', 'classes')
"""Options with a meaning of their own (`projects.runtime.data_options`)."""

_LATE_KEYS = ('activation_checkpointing', 'compile', 'efficient_conv_bn_eval',
              'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn',
              'tta_model', 'tta_pipeline')
_EXTRAS = {'mmdet': 'det', 'mmseg': 'seg', 'mmdet3d': 'det3d'}


def _no_module(error: ImportError, path: Path) -> ConfigError:
    name = (error.name or '').split('.')[0]
    if name in _EXTRAS:
        hint = f'Install it with: pip install "mmdownstream[{_EXTRAS[name]}]".'
    elif name == 'projects':
        hint = ('The suite is not installed for this Python. Run pip install -e . in its folder, '
                'or set PYTHONPATH to that folder.')
    else:
        hint = 'The config, or a module under its custom_imports, needs it.'
    return ConfigError(f'{path}: cannot be read: {error}. {hint}')


def _similar_files(path: Path) -> str:
    """A hint at config files with names like `path`'s."""
    if not path.parent.is_dir():
        return f'The folder {path.parent}/ does not exist.'
    names = [file.name for file in path.parent.glob('*.py')]
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f'Did you mean {", ".join(str(path.parent / name) for name in close)}?' if close else ''


def _check_options(cfg: Config, options: dict[str, Any], path: Path) -> None:
    """Refuse an option whose first key looks like a misspelled key of the config."""
    known = {*cfg.keys(), *inspect.signature(Runner).parameters, *_LATE_KEYS, *DATA_OPTIONS}
    for option in options:
        name = option.split('.')[0]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if name not in known and close:
            raise ConfigError(f'--cfg-options {option}: {path} has no key {name!r}. '
                              f'Did you mean {close[0]!r}?')


def _open_up(cfg: Config, key: str) -> None:
    """A None on the way to `key` becomes an empty dict: mmengine merges `a.b=1` into `a=dict()`, not into `a=None`."""
    part = cfg
    for name in key.split('.')[:-1]:
        if not isinstance(part, (Config, dict)) or name not in part:
            return
        if part[name] is None:
            part[name] = {}
        part = part[name]


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config and merge `--cfg-options` into it, except those of `DATA_OPTIONS`.

    Raises:
        ConfigError: no such file, a syntax error, a missing package, or an option that does not
            fit; the message names the file, and the line or key.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f'{path}: no such config file. {_similar_files(path)}')
    try:
        cfg = Config.fromfile(str(path))
    except SyntaxError as error:
        raise ConfigError(f'{path}: line {error.lineno}: {error.msg}') from error
    except ImportError as error:
        raise _no_module(error, path) from error
    except FileNotFoundError as error:
        raise ConfigError(f'{path}: a file it inherits from is missing: {error}') from error
    except KeyError as error:
        if 'os.environ' not in str(error):
            raise
        raise ConfigError(f'{path}: {error.args[0]} (An empty variable counts as missing.)'
                          ) from error
    options = {key: value for key, value in (options or {}).items() if key not in DATA_OPTIONS}
    _check_options(cfg, options, path)
    for key, value in options.items():
        try:
            _open_up(cfg, key)
            cfg.merge_from_dict({key: value})
        except (AttributeError, KeyError, TypeError, IndexError, AssertionError) as error:
            raise ConfigError(f'--cfg-options {key}={value!r} does not fit {path}: {error}. '
                              'Elements of a list are named by number, and only if they are '
                              'dicts; give other lists as a whole.') from error
    return cfg


def check_scope(cfg: Config) -> None:
    """Raise `ConfigError` if the library that the config is written for is not installed."""
    scope = cfg.get('default_scope', 'mmengine')
    if scope in _EXTRAS and importlib.util.find_spec(scope) is None:
        raise ConfigError(f'{cfg.filename} is written for {scope} (default_scope), which is not '
                          f'installed. Install it with: pip install "mmdownstream'
                          f'[{_EXTRAS[scope]}]".')
