"""Super-resolution archives: what is written can be scored, and faults are named."""
import io
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from mmengine.evaluator import DumpResults
from PIL import Image

from projects.leaderboards import SubmissionError, load_results, validate, write

NAMES = ('0901x4', '0902x4')
OPTIONS = dict(name='edsr', runtime=10.43, device='cpu', extra_data=True, description='EDSR, 2 cores')
README = """runtime per image [s] : 10.43
CPU[1] / GPU[0] : 1
Extra Data [1] / No Extra Data [0] : 1
Other description : EDSR, 2 cores
"""


def picture(seed, shape=(8, 12, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'PNG', **options)
    return stream.getvalue()


def png16(width=12, height=8):
    """A black 16-bit RGB file, which Pillow can read but not write."""
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    rows = zlib.compress(bytes((1 + 6 * width) * height))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 16, 2, 0, 0, 0))
            + chunk(b'IDAT', rows) + chunk(b'IEND', b''))


def make_zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def good_files():
    return {'0901x4.png': png(picture(0)), '0902x4.png': png(picture(1)), 'readme.txt': README}


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def inputs(tmp_path):
    """Low-resolution images of 3 x 2 pixels."""
    folder = tmp_path / 'X4'
    folder.mkdir()
    for name in NAMES:
        Image.new('RGB', (3, 2)).save(folder / f'{name}.png')
    return folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'results'
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        (folder / f'{name}.png').write_bytes(png(picture(seed)))
    return folder


@pytest.fixture
def predictions():
    return [dict(img_path=f'lq/{name}.png', pred_img=torch.from_numpy(picture(seed)).permute(2, 0, 1).float())
            for seed, name in enumerate(NAMES)]


# ---- writing

def test_a_folder_is_packed_byte_for_byte(tmp_path, folder, inputs):
    path = write('ntire-sr', folder, tmp_path / 'out', image_dir=inputs, scale=4, **OPTIONS)
    assert path.name == 'edsr.zip'
    assert read_zip(path) == {**{f'{name}.png': (folder / f'{name}.png').read_bytes() for name in NAMES},
                              'readme.txt': README.encode()}
    report = validate('ntire-sr', path, image_dir=inputs, scale=4)
    assert (report.entries, report.images, report.warnings) == (2, 2, [])
    again = write('ntire-sr', str(folder), tmp_path / 'again', **OPTIONS)
    assert again.read_bytes() == path.read_bytes()
    assert [file.name for file in (tmp_path / 'out').iterdir()] == ['edsr.zip']


def test_dumped_predictions_are_clamped_rounded_and_renamed(tmp_path, predictions, inputs):
    predictions[0]['pred_img'] += 0.4
    predictions[1]['pred_img'][:, 0, 0] = torch.tensor([-3., 300, 128.6])
    dump = DumpResults(str(tmp_path / 'preds.pkl'))
    dump.process({}, predictions)
    dump.evaluate(2)
    path = write('ntire-sr', load_results(tmp_path / 'preds.pkl'), tmp_path, naming='id', **OPTIONS)
    files = read_zip(path)
    assert list(files) == ['0901.png', '0902.png', 'readme.txt']
    expected = [picture(0), picture(1)]
    expected[1][0, 0] = 0, 255, 129
    for image, name in zip(expected, ('0901.png', '0902.png'), strict=True):
        np.testing.assert_array_equal(Image.open(io.BytesIO(files[name])), image)
    assert validate('ntire-sr', path, naming='id', image_dir=inputs, scale=4).warnings == []


@pytest.mark.parametrize('options, lines', [
    (dict(runtime=0.0081, device='gpu'), ['runtime per image [s] : 0.0081', 'CPU[1] / GPU[0] : 0']),
    (dict(runtime=5, extra_data=0), ['runtime per image [s] : 5', 'Extra Data [1] / No Extra Data [0] : 0']),
])
def test_readme_states_the_options(tmp_path, folder, options, lines):
    text = read_zip(write('ntire-sr', folder, tmp_path, **{**OPTIONS, **options}))['readme.txt'].decode()
    assert set(lines) <= set(text.splitlines()) and len(text.splitlines()) == 4


@pytest.mark.parametrize('change, options, message', [
    (dict(pred_img=torch.full((3, 8, 12), torch.nan)), {}, 'pred_img must be finite.*lq/0901x4.png'),
    (dict(pred_img=torch.zeros(1, 8, 12)), {}, r'shape \(3, H, W\), RGB .*0901x4.png: \(1, 8, 12\)'),
    (dict(pred_img=None), {}, 'must be a dict with img_path and pred_img .*result 0 lacks pred_img'),
    (dict(img_path='other/0902x4.png'), {}, r'the same name \[0902x4.png: lq/0902x4.png'),
    (dict(img_path='lq/baby.png'), dict(naming='id'), 'names that begin with a number.*lq/baby.png'),
    (dict(img_path='lq/0903x4.png'), dict(scale=4), '(?s)only results of the images in .*missing .0901x4.png'),
    ({}, dict(scale=2), '2 times: 0901x4.png: 12 x 8, expected 6 x 4'),
    ({}, dict(scale=0), 'option scale: 0; expected an integer'),
    ({}, dict(image_dir='absent'), 'absent: no such folder, or no images in it'),
    ({}, dict(naming='number'), "option naming: 'number'; expected keep"),
    ({}, dict(name='a b'), "option name: 'a b'"),
    ({}, dict(runtime=0), 'option runtime: 0; expected seconds'),
    ({}, dict(runtime=float('nan')), 'option runtime: nan'),
    ({}, dict(device='tpu'), "option device: 'tpu'"),
    ({}, dict(extra_data='no'), "option extra_data: 'no'"),
    ({}, dict(description='two\nlines'), 'option description: .*expected one line'),
    ({}, dict(description=' '), 'option description'),
    ({}, dict(description=None), 'write needs the option description'),
])
def test_results_that_cannot_be_submitted(tmp_path, predictions, inputs, change, options, message):
    predictions[0].update(change)
    options = {**OPTIONS, **(dict(image_dir=inputs) if 'scale' in options else {}), **options}
    with pytest.raises(SubmissionError, match=message):
        write('ntire-sr', predictions, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('data, message', [
    (png(picture(0, (8, 12))), r'expected 8-bit RGB without alpha.*0901x4.png: 8-bit grey\]'),
    (png(picture(0, (8, 12, 4))), '8-bit RGB with alpha'),
    (png16(), '16-bit RGB'),
    (b'\xff\xd8\xff\xe0 a renamed JPEG, as it happens', 'not a PNG file; save it losslessly'),
])
def test_other_image_formats_are_refused(tmp_path, folder, data, message):
    """Written and checked alike; Pillow itself would take the 16-bit file for an 8-bit one."""
    (folder / '0901x4.png').write_bytes(data)
    with pytest.raises(SubmissionError, match=message):
        write('ntire-sr', folder, tmp_path / 'out', **OPTIONS)
    path = make_zip(tmp_path / 'a.zip', {**good_files(), '0901x4.png': data})
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('ntire-sr', path)
    assert len(caught.value.problems) == 1


def test_an_empty_or_missing_folder_is_named(tmp_path):
    with pytest.raises(SubmissionError, match='no results; expected a folder of PNG files'):
        write('ntire-sr', tmp_path, tmp_path / 'out', **OPTIONS)
    with pytest.raises(SubmissionError, match='absent: no such folder; expected one with a PNG per image'):
        write('ntire-sr', tmp_path / 'absent', tmp_path / 'out', **OPTIONS)


# ---- checking

@pytest.mark.parametrize('changes, message', [
    ({'0902x4.png': None}, r'a result for each of the 2 images in image_dir; missing \[0902x4.png\]'),
    ({'0903x4.png': png(picture(2))}, r'only results of the images in image_dir.*\[0903x4.png\]'),
    ({'0901x4.png': png(picture(2, (7, 12, 3)))}, r'size of its ground truth.*0901x4.png: 12 x 7, expected 12 x 8'),
    ({'0901x4.png': png(picture(0))[:-60]}, 'pixels cannot be decoded; write the file again .0901x4.png'),
    ({'results/0903.png': b''}, 'at the root of the zip, without a folder.*results/0903.png'),
    ({'__MACOSX/._0901x4.png': b''}, 'system files'),
    ({'notes.txt': b''}, r'only PNG files \(.png\) and readme.txt may be in the archive \[notes.txt\]'),
    ({'readme.txt': None}, 'readme.txt with four lines must lie beside the images'),
    ({'readme.txt': README + 'Team : x\n'}, 'must have four lines, found 5; they begin with: runtime per image'),
    ({'readme.txt': README.replace('[s] : 10.43', '[s]: 10.43')}, r'line 1 of readme.txt must read "runtime'),
    ({'readme.txt': README.replace('10.43', 'fast')}, 'line 1 of readme.txt must give seconds above 0'),
    ({'readme.txt': README.replace('GPU[0] : 1', 'GPU[0] : CPU')}, 'line 2 of readme.txt must end in 0 or 1'),
    ({'readme.txt': README.replace('EDSR, 2 cores', '')}, 'line 4 of readme.txt must read "Other description'),
])
def test_faulty_archives_are_named(tmp_path, inputs, changes, message):
    files = {name: data for name, data in {**good_files(), **changes}.items() if data is not None}
    path = make_zip(tmp_path / 'a.zip', files)
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('ntire-sr', path, image_dir=inputs, scale=4)
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)


def test_several_faults_are_listed_together(tmp_path, inputs):
    path = make_zip(tmp_path / 'a.rar', {'0901.png': png(picture(0))})
    with pytest.raises(SubmissionError) as caught:
        validate('ntire-sr', path, image_dir=inputs, scale=4)
    assert len(caught.value.problems) == 4  # suffix, readme, an unknown name, both missing
    assert 'missing [2 times: 0901x4.png; 0902x4.png]' in caught.value.problems[-1]


def test_names_of_the_other_naming(tmp_path):
    path = make_zip(tmp_path / 'a.zip', good_files())
    assert 'names and sizes were not checked' in validate('ntire-sr', path).warnings[0]
    with pytest.raises(SubmissionError, match='naming id expects the number alone.*2 times: 0901x4.png'):
        validate('ntire-sr', path, naming='id')


def test_what_is_no_zip_of_images_is_named(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'text')
    for path, message in ((tmp_path / 'a.zip', 'not a zip file; put the PNG files'),
                          (tmp_path / 'b.zip', 'no such file'),
                          (make_zip(tmp_path / 'c.zip', {'readme.txt': README}), 'expected one PNG for each image')):
        with pytest.raises(SubmissionError, match=message):
            validate('ntire-sr', path)


def test_from_the_command_line(tmp_path, folder, inputs, root):
    done = subprocess.run(
        [sys.executable, root / 'tools' / 'submit.py', 'ntire-sr', folder, '--out', 'subs', '--name', 'edsr',
         '--runtime', '0.5', '--device', 'gpu', '--extra-data', '0', '--description', 'EDSR', '--naming', 'id',
         '--image-dir', inputs, '--scale', '4'], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    shown = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert shown['entries'] == '2' and 'warning' not in shown and 'Codabench' in shown['next']
    assert list(read_zip(tmp_path / 'subs' / 'edsr.zip')) == ['0901.png', '0902.png', 'readme.txt']
