"""Metafiles, the README's table that is made of them, and what tools/method_table.py refuses."""

import re
import shutil

import pytest
import yaml
from mmengine.config import Config


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('method_table.py')


def test_readme_and_configs_agree_with_the_metafiles(tool, root):
    """Every config is listed once, every path exists, and the README holds the table of today."""
    tool.main(['--check'])
    assert (root / 'README.md').read_text().count('projects/adder_fcos/README.md)') >= 1


def test_lengths_are_those_of_the_configs(tool, root):
    """Epochs, iterations and batch sizes of some models, spread over all metafiles."""
    models = [model for content in tool.read_metafiles(root).values() for model in content['Models']]
    for model in models[::len(models) // 6]:
        cfg, meta = Config.fromfile(root / model['Config'], import_custom_modules=False), model['Metadata']
        train = cfg.get('train_cfg') or {}
        assert meta.get('Epochs') == train.get('max_epochs'), model['Name']
        assert meta.get('Iterations') == train.get('max_iters'), model['Name']
        assert meta.get('Batch Size per Process') == (cfg.get('train_dataloader') or {}).get('batch_size')


def test_what_is_refused(tool, root, tmp_path):
    """An unlisted config, a wrong name, a paper's figure among the results, an old table in the README."""
    for name in ('configs', 'projects/ipt'):
        (tmp_path / name).mkdir(parents=True)
    for path in (root / 'configs').glob('ipt_*.py'):
        shutil.copy(path, tmp_path / 'configs')
    (tmp_path / 'configs' / 'new.py').touch()
    shutil.copy(root / 'projects/ipt/README.md', tmp_path / 'projects/ipt')
    (tmp_path / 'model-index.yml').write_text('Import: [projects/ipt/metafile.yml]')
    (tmp_path / 'README.md').write_text(f'a\n{tool.BEGIN}\nold\n{tool.END}\nb\n')
    content = yaml.safe_load((root / 'projects/ipt/metafile.yml').read_text())
    content['Models'][0]['Name'] = 'other'
    content['Models'][1]['Results'] = [dict(Task='t', Dataset='d', Metrics=dict(a=1), Source='paper')]
    (tmp_path / 'projects/ipt/metafile.yml').write_text(yaml.safe_dump(content))
    with pytest.raises(tool.ConfigError, match='in 4 places') as error:
        tool.main(['--check'], tmp_path)
    for words in ('configs/new.py: listed 0 times', 'other: mim expects', 'Paper Results', 'run python tools/method'):
        assert words in str(error.value)
    (tmp_path / 'configs' / 'new.py').unlink()
    shutil.copy(root / 'projects/ipt/metafile.yml', tmp_path / 'projects/ipt')
    tool.main([], tmp_path)
    tool.main(['--check'], tmp_path)
    text = (tmp_path / 'README.md').read_text()
    assert '**IPT**: one transformer' in text and 'old' not in text and text.endswith(f'{tool.END}\nb\n')


def test_pages_for_own_data_name_what_exists(root):
    """Configs, tools and pages of docs/own_data, but for the config that a page lets its reader write."""
    for page in sorted((root / 'docs' / 'own_data').glob('*.md')):
        text = page.read_text()
        named = set(re.findall(r'(?<![\w/])(?:configs|tools|projects)/[\w/]+\.(?:py|md|sh)', text))
        assert len(named) > 4
        lacking = {name for name in named if not (root / name).is_file()} - {'configs/my_photos.py'}
        assert not lacking, f'{page.name}: {lacking}'
        assert all((page.parent / link).exists() for link in re.findall(r'\]\(([^)#:]+)', text))
