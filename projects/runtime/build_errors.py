"""From "unexpected keyword argument 'dpeth'" to `model.backbone.dpeth` and "did you mean depth?".

mmengine builds objects from the dicts of a config and passes their keys on as arguments, so that a
misspelled key or type fails somewhere inside a constructor, without a word on the config. Here the
constructor's complaint is traced back to the place in the config that it came from.
"""

import difflib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from .errors import ConfigError

_UNEXPECTED = re.compile(r'(\w+)\.__init__\(\) got an unexpected keyword argument \'(\w+)\'')
_MISSING = re.compile(r'(\w+)\.__init__\(\) missing \d+ required [\w-]+ arguments?: (.+)')
_UNKNOWN_TYPE = re.compile(r'(\S+) is not in the (\S+) registry')
_NO_ARGUMENTS = {'type', '_scope_', 'init_cfg'}


def _dicts(value: Any, key: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """All dicts nested in `value`, with their key paths."""
    if isinstance(value, dict):
        if key:
            yield key, value
        for name, part in value.items():
            yield from _dicts(part, f'{key}.{name}' if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _dicts(part, f'{key}.{index}')


def _parts(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """All dicts of a config; what the runner reads comes before helper variables."""
    read = inspect.signature(Runner).parameters
    yield from _dicts(dict(sorted(cfg.items(), key=lambda item: item[0] not in read)))


def _all_registries() -> Iterator[Registry]:
    """mmengine's registries and, below each, those of the imported libraries."""
    waiting = [item for item in vars(registries).values() if isinstance(item, Registry)]
    while waiting:
        registry = waiting.pop()
        yield registry
        waiting.extend(registry.children.values())


def _registered(name: str) -> list[type]:
    """Classes registered under `name`, whatever the library or kind."""
    bare = name.split('.')[-1]
    return [registry.module_dict[bare] for registry in _all_registries()
            if bare in registry.module_dict]


def _classes(cfg: dict[str, Any]) -> list[type]:
    """Classes that a dict's `type` may mean."""
    kind = cfg.get('type')
    found = _registered(kind) if isinstance(kind, str) else [kind]
    return [item for item in found if inspect.isclass(item)]


def _arguments(classes: list[type]) -> list[str]:
    """Arguments that the classes take, those handed on to base classes by **kwargs included."""
    names: dict[str, None] = {}
    for base in (base for item in classes for base in inspect.getmro(item)):
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        names.update((item.name, None) for item in parameters
                     if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY))
        if not any(item.kind is item.VAR_KEYWORD for item in parameters):
            break
    names.pop('self', None)
    return list(names)


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f' Did you mean {" or ".join(map(repr, close))}?'
    shown = ', '.join(known[:15])
    return f' It takes: {shown}{", ..." if len(known) > 15 else ""}.' if known else ''


def _with_key(cfg: Config, owner: str, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Dicts that hold `key`; those of a class called `owner` or derived from it, if there are."""
    holders = [(path, part) for path, part in _parts(cfg) if key in part]
    derived = [(path, part) for path, part in holders
               if any(base.__name__ == owner for item in _classes(part)
                      for base in inspect.getmro(item))]
    return derived or holders


def _explain_unexpected(cfg: Config, owner: str, key: str) -> str | None:
    places = _with_key(cfg, owner, key)
    if not places:
        return None
    path, part = places[0]
    also = ''.join(f' (or {other}.{key})' for other, _ in places[1:4])
    kind = part.get('type', owner)
    return f'{path}.{key}{also}: {kind} has no argument {key!r}.' \
           + _suggestion(key, _arguments(_classes(part)))


def _explain_missing(cfg: Config, owner: str, missing: str) -> str | None:
    for path, part in _parts(cfg):
        classes = [item for item in _classes(part)
                   if any(base.__name__ == owner for base in inspect.getmro(item))]
        if classes:
            known = _arguments(classes)
            strange = [key for key in part if key not in known and key not in _NO_ARGUMENTS]
            hints = ''.join(f' {path}.{key} is unknown to it.{_suggestion(key, known)}'
                            for key in strange)
            return f'{path}: {part["type"]} needs {missing}, and the config gives none.{hints}'
    return None


def _explain_type(cfg: Config, name: str, where: str) -> str | None:
    kind = where.split('::')[-1]
    names = [key for registry in _all_registries() if registry.name == kind
             for key in registry.module_dict]
    for path, part in _parts(cfg):
        if part.get('type') == name:
            return (f'{path}.type: there is no {name!r} among the registered {kind} types.'
                    + (_suggestion(name, names) if difflib.get_close_matches(name, names) else
                       ' Is the module that registers it listed under custom_imports?'))
    return None


def explain(cfg: Config, error: Exception) -> str | None:
    """The place in `cfg` that a constructor's complaint came from, or None if it is no such one."""
    message = str(error)
    if match := _UNEXPECTED.search(message):
        return _explain_unexpected(cfg, match[1], match[2])
    if match := _MISSING.search(message):
        return _explain_missing(cfg, match[1], match[2])
    if match := _UNKNOWN_TYPE.search(message):
        return _explain_type(cfg, match[1].strip('"\''), match[2])
    return None


@contextmanager
def config_errors(cfg: Config) -> Iterator[None]:
    """Turn complaints of constructors into `ConfigError`s that name the key in `cfg`."""
    try:
        yield
    except (TypeError, KeyError) as error:
        explanation = explain(cfg, error)
        if explanation is None:
            raise
        raise ConfigError(f'{cfg.filename}: {explanation}') from error
