"""Writes the README's table of methods from the metafiles, and checks them: `python tools/method_table.py [--check]`.

`model-index.yml` lists the metafiles, one for each package that is trained, in mim's format. The table stands between
two comments in README.md and is replaced as a whole. What does not fit is named, with exit status 1; with --check
nothing is written. Checked are: names, paths and collections; that every file of configs/ is listed by exactly one
metafile; that measured results and those of papers stand apart; and, with --check, that the README holds this table.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).resolve().parents[1]))

from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import run_tool
from projects.runtime.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
BEGIN = '<!-- methods: written by tools/method_table.py from projects/*/metafile.yml -->'
END = '<!-- end of methods -->'
_COLLECTION = ('Name', 'Metadata', 'Paper', 'README', 'Code')
_MODEL = ('Name', 'In Collection', 'Config', 'Metadata')


def read_metafiles(root: Path) -> dict[str, dict[str, Any]]:
    """The metafiles that model-index.yml imports, by their paths.

    Raises:
        ConfigError: one of the files is missing or no YAML of this form.
    """
    found = {}
    try:
        names = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))['Import']
        for name in names:
            found[name] = yaml.safe_load((root / name).read_text(encoding='utf-8'))
            if not isinstance(found[name].get('Collections'), list) or 'Models' not in found[name]:
                raise ConfigError(f'{name}: expected the lists Collections and Models, as in the other metafiles.')
    except OSError as error:
        raise ConfigError(f'{error.filename}: {error.strerror}. model-index.yml imports the metafiles by their paths '
                          'from the root of the repository.') from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f'model-index.yml or a metafile that it imports is no such YAML file: {error}') from error
    return found


def _check_collection(item: dict[str, Any], place: str, root: Path) -> list[str]:
    wrong = [f'{place}: collection {item.get("Name")} has no {key}' for key in _COLLECTION if not item.get(key)]
    if not wrong and not {'Title', 'URL'} <= item['Paper'].keys():
        wrong.append(f'{place}: Paper of {item["Name"]} needs Title and URL')
    paths = [item.get('README'), (item.get('Code') or {}).get('URL')]
    paths += [f'projects/{name}/README.md' for name in (item.get('Metadata') or {}).get('Further Packages', ())]
    return wrong + [f'{place}: {path} does not exist' for path in paths if path and not (root / path).exists()]


def _check_model(item: dict[str, Any], place: str, collections: set[str], root: Path) -> list[str]:
    name = item.get('Name')
    wrong = [f'{place}: model {name} has no {key}' for key in _MODEL if not item.get(key)]
    if item.get('In Collection') not in collections:
        wrong.append(f'{place}: {name} is in the collection {item.get("In Collection")!r}, which is not in this file')
    config = str(item.get('Config'))
    if Path(config).stem != name:
        wrong.append(f'{place}: {name}: mim expects the name to be that of its config, {config}')
    if not (root / config).is_file():
        wrong.append(f'{place}: {name}: {config} does not exist')
    for result in item.get('Results', ()):
        if not {'Task', 'Dataset', 'Metrics'} <= result.keys() or 'Source' in result:
            wrong.append(f'{place}: {name}: Results hold Task, Dataset and Metrics of what was measured here; figures '
                         'of papers belong to Metadata: Paper Results')
    for result in (item.get('Metadata') or {}).get('Paper Results', ()):
        if not {'Dataset', 'Metrics', 'Source'} <= result.keys():
            wrong.append(f'{place}: {name}: Paper Results need Dataset, Metrics and Source')
    return wrong


def check(metafiles: dict[str, dict[str, Any]], root: Path) -> list[str]:
    """What is wrong with the metafiles, a sentence each."""
    wrong, configs = [], Counter()
    for place, content in metafiles.items():
        names = {item.get('Name') for item in content['Collections']}
        for item in content['Collections']:
            wrong += _check_collection(item, place, root)
        for item in content['Models']:
            wrong += _check_model(item, place, names, root)
            configs[Path(str(item.get('Config'))).name] += 1
    for path in sorted((root / 'configs').glob('*.py')):
        if configs[path.name] != 1:
            wrong.append(f'configs/{path.name}: listed {configs[path.name]} times, expected once: under Models of the '
                         'metafile of its method (Name, In Collection, Config, Metadata)')
    return wrong


def _paper(url: str) -> str:
    return f'[{url.rstrip("/").split("/")[-1]}]({url})'


def table(metafiles: dict[str, dict[str, Any]]) -> str:
    """The table: a row for each collection."""
    lines = ['| method | paper | configs | of them measured here | where |', '| --- | --- | --- | --- | --- |']
    for content in metafiles.values():
        for item in content['Collections']:
            meta = item['Metadata']
            models = [model for model in content['Models'] if model['In Collection'] == item['Name']]
            papers = ', '.join(map(_paper, [item['Paper']['URL'], *meta.get('Further Papers', ())]))
            package = Path(item['README']).parent.name
            where = ', '.join(f'[{name}](projects/{name}/README.md)'
                              for name in (package, *meta.get('Further Packages', ())))
            measured = sum('Results' in model for model in models)
            lines.append(f'| **{item["Name"]}**: {meta["Summary"]} | {papers} | {len(models)} | {measured or "none"} | '
                         f'{where} |')
    return '\n'.join(lines)


def replaced(readme: str, text: str) -> str:
    """The README with the table between its two comments.

    Raises:
        ConfigError: the comments are not there, once each and in order.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ConfigError(f'README.md: expected the lines {BEGIN} and {END}, once each, around the table of methods.')
    return f'{readme.partition(BEGIN)[0]}{BEGIN}\n\n{text}\n\n{END}{readme.partition(END)[2]}'


def main(argv: list[str] | None = None, root: Path = ROOT) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; exit with status 1 if anything is wrong')
    args = parser.parse_args(argv)
    metafiles = read_metafiles(root)
    wrong = check(metafiles, root)
    readme = (root / 'README.md').read_text(encoding='utf-8')
    new = replaced(readme, table(metafiles))
    if not args.check:
        write_atomic(root / 'README.md', new)
    elif new != readme:
        wrong.append('README.md: its table of methods is not that of the metafiles; run python tools/method_table.py')
    if wrong:
        raise ConfigError(f'The metafiles do not fit in {len(wrong)} places:\n- ' + '\n- '.join(wrong))
    print(f'{len(metafiles)} metafiles, {sum(len(content["Models"]) for content in metafiles.values())} configs.')


if __name__ == '__main__':
    run_tool(main)
