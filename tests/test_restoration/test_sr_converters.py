"""The mini restoration set, and the preparation of super-resolution data."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from projects.restoration import RestorationDataset, imresize
from projects.restoration.image_files import read_image
from projects.runtime.errors import DataError


@pytest.fixture(scope='module')
def mini(load_tool):
    return load_tool('dataset_converters/make_mini_restoration.py')


@pytest.fixture(scope='module')
def prepare(load_tool):
    return load_tool('dataset_converters/prepare_sr.py')


# ---- the mini set

def test_mini_set_is_laid_out_as_its_config_reads_it(sr_root, root, monkeypatch):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(sr_root))
    cfg = Config.fromfile(root / 'configs/edsr_mini.py')
    for loader, count in ((cfg.train_dataloader, 4), (cfg.test_dataloader[0], 3), (cfg.test_dataloader[1], 3)):
        arguments = {key: value for key, value in loader.dataset.items() if key != 'type'}
        assert len(RestorationDataset(**arguments)) == count


def test_mini_pairs(sr_root):
    folder = sr_root / 'mini_sr/benchmark/Shapes'
    truth = read_image(str(folder / 'HR/shapes_01.png'))
    assert truth.shape == (72, 72, 3) and truth.std() > 20
    for scale in (2, 3, 4):
        low = read_image(str(folder / f'LR_bicubic/X{scale}/shapes_01x{scale}.png'))
        assert np.array_equal(low, imresize(truth, 1 / scale))


def test_mini_rain_only_brightens(sr_root):
    rainy, clean = (read_image(str(sr_root / f'mini_sr/rain/train/{name}-001.png')).astype(int)
                    for name in ('rain', 'norain'))
    added = rainy - clean
    assert added.min() == 0 and 0.02 < (added.max(axis=2) > 5).mean() < 0.6
    streak = (rainy.max(axis=2) < 255) & (added.max(axis=2) > 5)
    assert np.ptp(added[streak], axis=1).max() <= 1  # the same on all channels, where nothing is clipped


def test_pictures_depend_on_their_seed_alone(mini, sr_root):
    assert np.array_equal(mini.draw((0, 0, 2), 72), read_image(str(sr_root / 'mini_sr/train/HR/0003.png')))
    assert not np.array_equal(mini.draw((0, 0, 2), 72), mini.draw((0, 0, 3), 72))


def test_a_set_that_is_there_is_kept(mini, tmp_path):
    out = mini.generate(tmp_path / 'set', train=1, test=1, size=48)
    stamp = out / 'train/HR/0001.png'
    before = stamp.stat().st_mtime_ns
    mini.generate(out, train=1, test=1, size=48)
    assert stamp.stat().st_mtime_ns == before
    mini.generate(out, train=2, test=1, size=48)
    assert len(list((out / 'train/HR').iterdir())) == 2
    assert json.loads((out / 'dataset.json').read_text())['train'] == 2
    assert [path.name for path in tmp_path.iterdir()] == ['set']  # no partial folder is left


def test_foreign_folders_and_bad_numbers_are_refused(mini, tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    assert mini.main(['--out', str(tmp_path / 'mine')]) == 2
    assert 'was not made by this tool' in capsys.readouterr().err
    assert mini.main(['--out', str(tmp_path / 'new'), '--size', '50']) == 2
    assert 'that 12 divides' in capsys.readouterr().err and not (tmp_path / 'new').exists()


# ---- preparation

def test_low_resolution_files_of_set5_to_the_bit(prepare, shared, tmp_path):
    source = shared / 'samples/sr/Set5'
    for border, folder in (('symmetric', 'LR_bicubic'), ('replicate', 'LR_bicubic_replicate')):
        out = tmp_path / border
        assert prepare.main(['lr', str(source / 'HR'), str(out), '--border', border, '--workers', '1']) == 0
        released = sorted(path.relative_to(source / folder) for path in (source / folder).rglob('*.png'))
        assert len(released) == 15
        for path in released:
            assert np.array_equal(read_image(str(out / path)), read_image(str(source / folder / path)))


def test_low_resolution_run_goes_on_where_it_stopped(prepare, tmp_path, write_image, capsys):
    write_image(tmp_path / 'HR/a.png', (13, 17))
    arguments = ['lr', str(tmp_path / 'HR'), str(tmp_path / 'LR'), '--workers', '1']
    assert prepare.main([*arguments, '--scales', '2']) == 0 and prepare.main(arguments) == 0
    assert '2 images written' in capsys.readouterr().out.splitlines()[-1]
    assert read_image(str(tmp_path / 'LR/X4/ax4.png')).shape == (3, 4, 3)


def test_grid_of_sub_images(prepare):
    assert prepare.grid(960, 480, 240) == [0, 240, 480]
    assert prepare.grid(1000, 480, 240) == [0, 240, 480, 520]
    assert prepare.grid(480, 480, 240) == [0]
    with pytest.raises(DataError, match='shorter'):
        prepare.grid(479, 480, 240)


@pytest.fixture
def div2k(tmp_path, write_image):
    """Two images whose low-resolution versions are every second, third and fourth pixel."""
    for name, size in (('0001', (60, 96)), ('0002', (48, 49)), ('0801', (48, 48))):
        image = read_image(str(write_image(tmp_path / f'DIV2K_train_HR/{name}.png', size, seed=int(name))))
        for scale in (2, 3, 4):
            small = image[:size[0] // scale * scale:scale, :size[1] // scale * scale:scale]
            write_image(tmp_path / f'DIV2K_train_LR_bicubic/X{scale}/{name}x{scale}.png', small[..., ::-1])
    return tmp_path


def test_sub_images_stay_pairs_and_are_listed(prepare, div2k, capsys):
    assert prepare.main(['sub', str(div2k), '--size', '48', '--step', '24', '--workers', '1']) == 0
    assert '7 sub-images of 2 images' in capsys.readouterr().out  # 2 x 3 and 1 x 1; 0801 is for validation
    lines = (div2k / 'meta_info_DIV2K800sub_GT.txt').read_text().splitlines()
    assert lines[0] == '0001_s001.png (48,48,3)' and len(lines) == 7
    for scale in (2, 3, 4):
        dataset = RestorationDataset(
            'meta_info_DIV2K800sub_GT.txt', data_root=str(div2k), scale=scale,
            data_prefix=dict(img=f'DIV2K_train_LR_bicubic/X{scale}_sub', gt='DIV2K_train_HR_sub'))
        assert len(dataset) == 7
        for info in map(dataset.get_data_info, range(7)):
            truth, low = read_image(info['gt_path']), read_image(info['img_path'])
            assert truth.shape == (48, 48, 3) and np.array_equal(truth[::scale, ::scale], low)
    whole = read_image(str(div2k / 'DIV2K_train_HR/0001.png'))
    assert np.array_equal(read_image(str(div2k / 'DIV2K_train_HR_sub/0001_s006.png')), whole[12:60, 48:96])


def test_what_sub_images_refuse(prepare, div2k, write_image, capsys):
    assert prepare.main(['sub', str(div2k), '--size', '50', '--step', '24']) == 1
    assert 'multiples of the scales' in capsys.readouterr().err
    write_image(div2k / 'DIV2K_train_LR_bicubic/X3/0001x3.png', (10, 10))
    assert prepare.main(['sub', str(div2k), '--size', '48', '--step', '24', '--workers', '1']) == 1
    assert '0001.png has 96 x 60 pixels, its x3 version 10 x 10' in capsys.readouterr().err
    assert prepare.main(['lr', str(div2k / 'none'), str(div2k / 'out')]) == 1
