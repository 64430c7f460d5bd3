"""Structure files: a round trip, other models, and what a pruned model can do."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from mmseg.registry import MODELS

from projects.runtime.errors import ConfigError
from projects.seg_pruning import (
    Budget,
    ChannelGraph,
    Floors,
    PruneHook,
    pipeline,
    prune_to_budget,
    save_result,
    weight_importance,
)
from projects.seg_pruning.costs import Timing
from projects.seg_pruning.errors import StructureError
from projects.seg_pruning.pruned_segmentor import pruned_config

SIZE = (40, 48)
BUDGET = Budget(0.5, floors=Floors(2, 0.1, 2))


@pytest.fixture
def pruned(build, config, tmp_path):
    """(config of the dense model, result of pruning, paths)."""
    cfg = config()
    model = build(cfg)
    graph = ChannelGraph(model, SIZE)
    result = prune_to_budget(model, graph, weight_importance('l1', model, graph), BUDGET)
    return cfg, result, save_result(result, tmp_path / 'out')


def rebuilt(cfg, paths, **changes):
    model = MODELS.build({**pruned_config(cfg, str(paths['structure'])), **changes})
    result = model.load_state_dict(torch.load(paths['checkpoint'])['state_dict'], strict=not changes)
    assert not result.missing_keys
    return model.eval()


def test_round_trip(pruned, monkeypatch):
    cfg, result, paths = pruned
    monkeypatch.setitem(sys.modules, 'torch_pruning', None)  # not needed any more
    model = rebuilt(cfg, paths)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(model(image), result.network.eval()(image))
    content = json.loads(paths['structure'].read_text())
    kept = {name: mask.nonzero().flatten().tolist() for name, mask in result.masks.items()}
    assert {name: group['kept'] for name, group in content['groups'].items()} == kept
    assert 0.45 < result.after.macs / result.before.macs <= 0.5
    assert content['info']['pruned']['macs'] == result.after.macs


def test_without_auxiliary_head(pruned):
    cfg, result, paths = pruned
    model = rebuilt(cfg, paths, auxiliary_head=None)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(model(image), result.network.eval()(image))


def test_it_trains(pruned, batch):
    cfg, _, paths = pruned
    cfg['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='torchvision://resnet18')  # no download: dropped
    model = rebuilt(cfg, paths)
    model.init_weights()
    model.train()
    losses = model(**model.data_preprocessor(batch()['seg'], True), mode='loss')
    (losses['decode.loss_ce'] + losses['aux.loss_ce']).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_torchscript_and_onnx(pruned, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    cfg, _, paths = pruned
    model = rebuilt(cfg, paths, auxiliary_head=None)
    image, other = torch.randn(1, 3, *SIZE), torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = model(other)
        script = torch.jit.trace(model, image)
        torch.testing.assert_close(script(other), expected)
        torch.onnx.export(model, (image,), str(tmp_path / 'model.onnx'), input_names=['image'], dynamo=True)
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    [found] = session.run(None, {'image': other.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-3)


def test_report(pruned):
    _, result, paths = pruned
    folder = paths['structure'].parent
    text = paths['report'].read_text()
    ratio = result.after.macs / result.before.macs
    assert f'| {ratio:.3f} |' in text and '| backbone.layer1.0.conv1 | ' in text
    assert 'residual stream of 3 layers' in text
    assert (folder / 'pruned_report.png').read_bytes().startswith(b'\x89PNG')
    content = json.loads((folder / 'pruned_report.json').read_text())
    assert [row['kept'] for row in content['layers']] == [int(mask.sum()) for mask in result.masks.values()]


def test_latency_as_target(build, config, monkeypatch):
    """With a machine that takes as long as there are parameters, the target 0.7 leaves 70 % of them."""
    model = build(config(auxiliary=False))
    graph = ChannelGraph(model, SIZE)

    def counted(networks, size, repeats):
        return {name: Timing(sum(p.numel() for p in net.parameters()), 0.) for name, net in networks.items()}

    monkeypatch.setattr(pipeline, 'latency_in_turns', counted)
    budget = Budget(0.7, 'latency', floors=Floors(2, 0.1, 1))
    result = prune_to_budget(model, graph, weight_importance('l1', model, graph), budget)
    assert 0.67 < result.after.params / result.before.params <= 0.7
    assert result.latency['pruned'].latency == result.after.params


def test_hook_prunes_searches_only(build, config):
    runner = SimpleNamespace(model=build(config()))
    with pytest.raises(ConfigError, match='PruneHook prunes a MultiTaskPruning, but model.type is EncoderDecoder'):
        PruneHook().before_train(runner)
    with pytest.raises(ConfigError, match="PruneHook.method='fpgm': expected scores, taylor, bn_scale"):
        PruneHook(method='fpgm')


def test_other_models_are_refused(pruned, config):
    _, _, paths = pruned
    path = str(paths['structure'])
    for other, message in (
            (config(depth=34), "backbone has 44 layers in it, the model's has 76"),
            (config(width=16), r"layer backbone\.layer1\.0\.conv1 has 8 inputs and 8 outputs in it, the model's has 1"),
            (config(head='PSPHead', pool_scales=(1, 2)), "decode_head has 11 layers in it, the model's has 7"),
            (config(head='PSPHead', pool_scales=(1, 2, 3, 6)), r'the model has no layer decode_head\.image_pool')):
        with pytest.raises(StructureError, match=f'pruned.json: {message}') as error:
            MODELS.build(pruned_config(other, path))
        assert 'belongs to another model' in str(error.value)


def test_broken_files_are_named(pruned, config, tmp_path):
    cfg, _, paths = pruned
    with pytest.raises(StructureError, match=r'nowhere\.json: no such structure file .*there are: pruned'):
        MODELS.build(pruned_config(cfg, str(paths['structure'].with_name('nowhere.json'))))
    for content, message in (('{"format": 3}', 'format is 3, expected'), ('{', 'not valid JSON'),
                             ('[1]', "format is 'list'"), ('{"format": "pruned-structure/1"}', 'it lacks layers')):
        path = tmp_path / 'broken.json'
        path.write_text(content)
        with pytest.raises(StructureError, match=rf'broken\.json: .*{message}'):
            MODELS.build(pruned_config(cfg, str(path)))
