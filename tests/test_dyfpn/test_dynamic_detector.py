"""The resource loss in the loss dict of one-stage and two-stage detectors, and a dynamic neck of adder layers."""

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from projects.adder import Adder2d

NARROW = dict(base_channels=4, stem_channels=4)


def narrow(root, name, neck=(), **options):
    """The config's detector with ResNet-18, 4 to 32 channels in the backbone and 16 in the neck."""
    cfg = Config.fromfile(root / 'configs' / f'{name}.py')
    init_default_scope('mmdet')
    model = cfg.model
    model.backbone.update(depth=18, init_cfg=None, **NARROW)
    model.neck.update(in_channels=[4, 8, 16, 32][-len(model.neck.in_channels):], out_channels=16, **dict(neck))
    if 'rpn_head' in model:
        model.rpn_head.update(in_channels=16, feat_channels=16)
        model.roi_head.bbox_roi_extractor.out_channels = 16
        model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
    else:
        model.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1)
        model.bbox_head.norm_cfg = dict(type='GN', num_groups=4)
    model.update(options)
    return cfg


def built(cfg):
    torch.manual_seed(0)
    return MODELS.build(cfg.model).train()


def data(model, images=2):
    packed = demo_mm_inputs(images, [[3, 64, 96]] * images, num_classes=3, use_box_type=True)
    return model.data_preprocessor(packed, True)


CONFIGS = ['dyfpn_faster_rcnn_r50', 'dyfpn_retinanet_r50', 'dyfpn_fcos_r50', 'dyfpn_adder_fcos_r50']


@pytest.mark.parametrize('name', CONFIGS)
def test_loss_flops_is_the_necks_and_trains_the_gates(root, name):
    model = built(narrow(root, name))
    neck, batch, record = model.neck, data(model), []
    neck.record = record
    losses = model(**batch, mode='loss')
    choices = [torch.nn.functional.one_hot(level, 2) for level in record[0][0].unbind(1)]
    assert losses['loss_flops'].item() == pytest.approx(neck.loss_flops(choices).item(), abs=1e-6)
    total, logged = model.parse_losses(losses)
    assert logged['loss_flops'].item() == pytest.approx(losses['loss_flops'].item())
    assert total.item() == pytest.approx(sum(v.item() for k, v in logged.items() if 'loss' in k and k != 'loss'),
                                         rel=1e-5)
    losses['loss_flops'].backward()
    assert all(level[2].bias.grad.abs().sum() > 0 for level in neck.gates.levels)
    assert type(model).__mro__[2].__name__ == narrow(root, name).model.base


def test_parameters_are_named_as_in_the_base_detector(root):
    cfg = narrow(root, 'dyfpn_fcos_r50')
    names = set(built(cfg).state_dict())
    cfg.model.type = cfg.model.pop('base')
    assert set(built(cfg).state_dict()) == names


def test_a_loss_that_nobody_fetches_is_an_error(root):
    cfg = narrow(root, 'dyfpn_fcos_r50')
    cfg.model.type = cfg.model.pop('base')
    model = built(cfg)
    batch = data(model)
    model(**batch, mode='loss')
    with pytest.raises(RuntimeError, match="type='DynamicDetector', base="):
        model(**batch, mode='loss')


def test_a_failed_step_does_not_matter(root):
    model = built(narrow(root, 'dyfpn_fcos_r50'))
    batch = data(model)
    model.neck(model.backbone(batch['inputs']))  # what a step leaves that ran out of memory in the head
    assert model(**batch, mode='loss')['loss_flops'] >= 0


def test_wrong_detectors_are_named(root):
    with pytest.raises(ValueError, match='no such detector'):
        built(narrow(root, 'dyfpn_fcos_r50', base='FCOSS'))
    cfg = narrow(root, 'dyfpn_fcos_r50')
    cfg.model.neck = dict(type='FPN', in_channels=[8, 16, 32], out_channels=16, num_outs=5)
    with pytest.raises(ValueError, match='has no DyFPN'):
        built(cfg)


def test_without_resource_loss_there_is_no_entry(root):
    model = built(narrow(root, 'dyfpn_retinanet_r50', neck=dict(loss_flops=None)))
    assert 'loss_flops' not in model(**data(model), mode='loss')


def test_loss_flops_is_float32_under_autocast(root):
    model = built(narrow(root, 'dyfpn_retinanet_r50'))
    batch = data(model)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**batch, mode='loss')
    assert losses['loss_flops'].dtype == torch.float32
    model.parse_losses(losses)[0].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.neck.parameters())


def test_gradients_accumulate_over_two_batches(root):
    model = built(narrow(root, 'dyfpn_faster_rcnn_r50'))
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01)))
    wrapper.initialize_count_status(model, 0, 4)
    batch = demo_mm_inputs(2, [[3, 64, 96]] * 2, num_classes=3, use_box_type=True)
    before = model.neck.gates.levels[0][2].bias.detach().clone()
    for changed in (False, True):
        model.train_step(batch, wrapper)
        assert torch.equal(model.neck.gates.levels[0][2].bias, before) != changed


@pytest.mark.parametrize('options, adders', [
    ({}, {'skip', 'branches', 'fpn_convs'}), (dict(bank=dict(conv_cfg=None, norm_cfg=None)), {'skip', 'fpn_convs'}),
    (dict(conv_cfg=None), set())])
def test_parts_of_an_adder_neck(root, options, adders):
    """conv_cfg chooses the layers of the neck, bank those of the branches."""
    model = built(narrow(root, 'dyfpn_adder_fcos_r50', neck=options))
    found = {part for name, module in model.neck.named_modules() if isinstance(module, Adder2d)
             for part in ('skip', 'branches', 'fpn_convs') if part in name}
    assert found == adders
    losses = model(**data(model), mode='loss')
    sum(v.sum() if torch.is_tensor(v) else sum(v) for v in losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.neck.parameters() if p.grad is not None)


def test_a_mixed_batch_through_an_adder_detector_equals_its_images(root):
    model = built(narrow(root, 'dyfpn_adder_fcos_r50')).eval()
    with torch.no_grad():
        for level in model.neck.gates.levels:  # so that images differ in their decisions
            level[2].weight.normal_(std=20)
        images = torch.randn(4, 3, 64, 96) * torch.tensor([0.2, 1.0, 3.0, 8.0])[:, None, None, None]
        model.neck.record = []
        together = model.extract_feat(images)
        assert 0 < model.neck.record[0][0].float().mean() < 1
        for i in range(4):
            for x, y in zip(model.extract_feat(images[i:i + 1]), together, strict=True):
                torch.testing.assert_close(x[0], y[i], rtol=1e-4, atol=1e-4)
