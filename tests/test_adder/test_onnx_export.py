"""ONNX export: the files compute what torch computes, in standard operators, at any size, without large temporaries."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.export import Dim

from projects.adder import Adder2d, QuantAdder2d, onnx_export
from projects.adder.onnx_export import export_onnx, translation_table
from projects.adder.quantization import ActivationRange, quantize_layer
from projects.adder_fcos import AdderResNet

onnx = pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxscript', reason='needs onnxscript')
runtime = pytest.importorskip('onnxruntime', reason='needs onnxruntime')

DYNAMIC = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


class Parallel(nn.ModuleList):
    """All layers on one input: many geometries in one export."""

    def forward(self, x):
        return [layer(x) for layer in self]


def nodes(graph):
    """All nodes, those of nested graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def session(file, **options):
    """The file in onnxruntime, after a check of its form and of its operators' origin."""
    proto = onnx.load(file)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in nodes(proto.graph)} == {''} and not proto.functions
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1
    for name, value in options.items():
        setattr(settings, name, value)
    return runtime.InferenceSession(file, settings, providers=['CPUExecutionProvider'])


def run(session, x):
    return [torch.from_numpy(y) for y in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def compare(model, inputs, file, rtol=1e-5, **kwargs):
    """Exports for the first input, and compares on all; differences relative to the largest output."""
    model.eval()
    export_onnx(model, inputs[0], file, **kwargs)
    loaded = session(file)
    for x in inputs:
        with torch.no_grad():
            expected = model(x)
        expected = [expected] if isinstance(expected, torch.Tensor) else expected
        for actual, y in zip(run(loaded, x), expected, strict=True):
            torch.testing.assert_close(actual, y, rtol=0, atol=rtol * max(1, y.abs().max().item()))


def geometries():
    torch.manual_seed(0)
    return Parallel([
        Adder2d(5, 6, 1), Adder2d(5, 6, 1, stride=2, bias=False), Adder2d(5, 6, 3, padding=1, bias=False),
        Adder2d(5, 7, 3, stride=2, padding=1), Adder2d(5, 4, 7, stride=2, padding=3),
        Adder2d(5, 4, 3, padding=2, dilation=2), Adder2d(5, 4, (1, 3), stride=(3, 2), padding=(0, 2), dilation=(1, 3)),
        Adder2d(5, 4, (3, 2), padding=(4, 0))])


# Everything in one tile; tiles of a few positions; and filters in groups: K is 5 to 245 here.
@pytest.mark.parametrize('tile_elements', [onnx_export.TILE_ELEMENTS, 600, 100])
def test_every_geometry_at_every_size_of_tiles(tile_elements, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_export, 'TILE_ELEMENTS', tile_elements)
    compare(geometries(), [torch.randn(2, 5, 11, 14)], tmp_path / 'layers.onnx')


def test_network_with_batch_norms_at_other_sizes(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(Adder2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Adder2d(8, 12, 3, 2, 1),
                          nn.BatchNorm2d(12), nn.ReLU(), Adder2d(12, 4, 1))
    model(torch.randn(8, 3, 16, 16))
    inputs = [torch.randn(2, 3, 16, 12), torch.randn(1, 3, 9, 31), torch.randn(5, 3, 4, 3)]
    compare(model, inputs, tmp_path / 'model.onnx', dynamic_shapes=DYNAMIC, external_data=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.onnx', 'model.onnx.data']


def test_float64(tmp_path):
    torch.manual_seed(0)
    compare(Adder2d(4, 5, 3, padding=1).double(), [torch.randn(1, 4, 6, 6).double()], tmp_path / 'double.onnx', 1e-14)


def test_adder_resnet_trunk_at_other_sizes(tmp_path):
    torch.manual_seed(0)
    model = AdderResNet(18, base_channels=16, stem_channels=16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # plain average, so that one batch sets sensible statistics
    model(torch.randn(4, 3, 64, 64))
    inputs = [torch.randn(2, 3, 64, 48), torch.randn(1, 3, 75, 101)]
    compare(model, inputs, tmp_path / 'trunk.onnx', rtol=1e-4, dynamic_shapes=DYNAMIC, optimize=False)


@pytest.mark.parametrize('tile_elements', [onnx_export.TILE_ELEMENTS, 100])
def test_integer_layers_are_exact(tile_elements, monkeypatch, tmp_path):
    """Shared and grouped scales, either sign, 4 and 8 bits; sums of integers leave nothing to round."""
    monkeypatch.setattr(onnx_export, 'TILE_ELEMENTS', tile_elements)
    torch.manual_seed(0)
    x, quantised = torch.randn(2, 5, 9, 10), Parallel()
    for values in (x, x.relu()):
        seen = ActivationRange()
        seen.update(values)
        quantised.extend(quantize_layer(layer, seen, scheme, bits) for layer in list(geometries())[3:6]
                         for scheme, bits in (('shared', 8), ('grouped', 8), ('grouped', 4)))
    for layer in quantised:
        layer.simulated = True
    assert {(layer.signed.item(), len(layer.steps)) for layer in quantised} == {(True, 1), (True, 4), (False, 4)}
    compare(quantised, [3 * x], tmp_path / 'quantised.onnx', rtol=0)


def test_codes_round_half_to_even(tmp_path):
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 200., -200.]).reshape(1, 1, 1, 7)
    export_onnx(QuantAdder2d(1, 1, 1).eval(), x, tmp_path / 'ties.onnx')  # step 1, filter 0
    assert run(session(tmp_path / 'ties.onnx'), x)[0].flatten().tolist() == [0, -2, -2, 0, -2, -127, -128]


def test_sums_of_integers_beyond_what_float32_holds_are_exact(tmp_path):
    """About 300001 * 127, far beyond 2^24; the simulated layer adds in float64."""
    torch.manual_seed(0)
    layer = QuantAdder2d(300001, 8, 1, simulated=True)
    layer.codes.random_(-128, 128)
    compare(layer, [200 + 100 * torch.randn(1, 300001, 1, 4)], tmp_path / 'long.onnx', rtol=0)


def test_temporaries_stay_below_the_size_of_the_input(monkeypatch, tmp_path):
    """onnxruntime's profile. The columns would be 9 times the input, all differences 9 * 8 times."""
    monkeypatch.setattr(onnx_export, 'TILE_ELEMENTS', 1 << 12)
    x, file = torch.randn(1, 8, 40, 40), tmp_path / 'layer.onnx'
    export_onnx(Adder2d(8, 8, 3, padding=1, bias=False).eval(), x, file)
    loaded = session(file, enable_profiling=True, profile_file_prefix=str(tmp_path / 'profile'))
    run(loaded, x)
    with open(loaded.end_profiling(), encoding='utf-8') as profile:
        runs = [event['args'] for event in json.load(profile) if 'output_size' in event.get('args', {})]
    assert max(int(run['output_size']) for run in runs) == 4 * 8 * 42 * 42  # the padded input
    tiles = [int(run['output_size']) for run in runs if run['op_name'] == 'Abs']
    assert len(tiles) == 40 * 6 and max(tiles) == 4 * 7 * 8 * 72  # per row 6 tiles of 7 positions, 8 filters, K = 72


def test_plain_torch_export_with_the_table(tmp_path):
    model, x = Adder2d(2, 3, 3).eval(), torch.randn(1, 2, 5, 5)
    torch.onnx.export(model, (x,), tmp_path / 'a.onnx', dynamo=True, custom_translation_table=translation_table())
    torch.testing.assert_close(run(session(tmp_path / 'a.onnx'), x)[0], model(x).detach())


def test_failed_export_leaves_the_former_file(tmp_path):
    file = tmp_path / 'model.onnx'
    file.write_text('former')

    def fail(*args):
        raise RuntimeError('no translation today')

    with pytest.raises(torch.onnx.errors.OnnxExporterError, match='no translation today'):
        export_onnx(Adder2d(2, 3, 1).eval(), torch.randn(1, 2, 5, 5), file,
                    custom_translation_table={torch.ops.mmdownstream.adder2d.default: fail})
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx'] and file.read_text() == 'former'


def test_without_onnx_layers_work_and_the_export_names_what_is_missing():
    code = """import sys
sys.modules['onnx'] = None
from projects.adder.onnx_export import translation_table
translation_table()"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith('ImportError: ONNX export needs onnx, not installed here')
    assert 'mmdownstream[onnx]' in done.stderr
