"""Detectors with a teacher: what they compute, what the teacher is no part of, and what they refuse."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper

from projects.defeat.detectors import rois_and_labels
from projects.defeat.losses import decoupled_error, score_divergence
from projects.defeat.masks import anchor_masks, object_masks
from projects.defeat.recording import sampled_by
from projects.runtime.errors import CheckpointError, ConfigError

HEAD = dict(beta_obj=2., beta_bg=3., temp_obj=1., temp_bg=2.)


def save_teacher(config, path, classes=('square', 'disc')):
    torch.manual_seed(5)
    model = MODELS.build(copy.deepcopy(config))
    torch.save(dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict=model.state_dict()), path)
    return model


@pytest.mark.parametrize('stages', ['one', 'two'])
def test_teacher_is_no_part_of_the_model(stages, distilled, build, batch, plain):
    model = build(distilled(stages)).train()
    teacher = model.teacher.model
    assert {key for key in model.state_dict() if not key.startswith('distiller.neck.adapt.')} == set(
        MODELS.build(plain(stages)).state_dict())
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    optimised = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert not optimised & {id(p) for p in teacher.parameters()}
    assert teacher not in set(model.modules())
    before = copy.deepcopy(teacher.state_dict())
    total, _ = model.parse_losses(model.loss(*batch))
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    wrapper.step()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_teacher_follows_the_student(distilled, build):
    model = build(distilled('one')).double()
    assert {p.dtype for p in model.teacher.model.parameters()} == {torch.float64}
    model.half().float().cpu()
    assert {p.dtype for p in model.teacher.model.parameters()} == {torch.float32}
    late = MODELS.build(distilled('one')).to(torch.float64)
    assert next(late.teacher.load(late).parameters()).dtype == torch.float64
    average = ExponentialMovingAverage(model)
    assert average.module.teacher.model is None  # an average is never trained
    twin = copy.deepcopy(model).double()
    assert {p.dtype for p in model.teacher.model.parameters()} == {torch.float32}
    own = twin.teacher.load(twin).state_dict()
    assert all(value.dtype != torch.float32 and torch.equal(value, own[key].to(value.dtype))
               for key, value in own.items())
    weights = model.teacher.model.state_dict()
    assert all(torch.equal(value.to(weights[key].dtype), weights[key]) for key, value in own.items())


@pytest.mark.parametrize('stages', ['one', 'two'])
def test_terms_are_those_of_the_two_detectors_maps(stages, distilled, build, batch, plain):
    """Against the terms computed from the outside; and the detector's own losses are the plain detector's."""
    model = build(distilled(stages))
    torch.manual_seed(3)
    losses = model.loss(*batch)
    alone = MODELS.build(plain(stages))
    alone.load_state_dict({key: value for key, value in model.state_dict().items() if 'distiller' not in key})
    torch.manual_seed(3)
    own = alone.loss(*batch)
    for key, value in own.items():
        torch.testing.assert_close(losses[key], value)
    assert set(losses) - set(own) == {'loss_defeat_obj', 'loss_defeat_bg'}
    student, teacher = alone.extract_feat(batch[0]), model.teacher.model.extract_feat(batch[0])
    strides = [8, 16, 32] if stages == 'one' else [4, 8, 16, 32, 64]
    boxes = [sample.gt_instances.bboxes for sample in batch[1]]
    masks = object_masks(boxes, [tuple(item.shape[2:]) for item in student], strides)
    parts = [decoupled_error(layer(s), t, mask) for layer, s, t, mask in
             zip(model.distiller.neck.adapt, student, teacher, masks, strict=True)]
    objects, background = (sum(part) / len(parts) for part in zip(*parts, strict=True))
    torch.testing.assert_close(losses['loss_defeat_obj'], 4 * objects)
    torch.testing.assert_close(losses['loss_defeat_bg'], 16 * background)


@pytest.mark.parametrize('roi_source', ['teacher', 'student'])
def test_head_term_compares_scores_of_the_same_proposals(roi_source, distilled, build, batch):
    model = build(distilled('two', head=dict(HEAD, roi_source=roi_source)))
    teacher = model.teacher.model
    torch.manual_seed(3)
    losses = model.loss(*batch)
    torch.manual_seed(3)
    source = model if roi_source == 'student' else teacher
    with sampled_by(source.roi_head) as sampled:  # its own loss draws the same proposals from the same seed
        if roi_source == 'student':
            super(type(model).__mro__[1], model).loss(*batch)
        else:
            head_only = copy.deepcopy(teacher)
            neck = head_only.extract_feat(batch[0])
            found = head_only.rpn_head.predict_by_feat(
                *head_only.rpn_head(neck), batch_img_metas=[s.metainfo for s in batch[1]],
                cfg=head_only.train_cfg.rpn_proposal)
            teacher.roi_head.loss(neck, found, batch[1])
    rois, labels = rois_and_labels(sampled['sampling_results'], 2)
    assert len(rois) == len(labels) and 0 < (labels != 2).sum() < len(labels)
    student_scores, teacher_scores = (
        item.roi_head._bbox_forward(item.extract_feat(batch[0]), rois)['cls_score'] for item in (model, teacher))
    torch.testing.assert_close(losses['loss_defeat_cls_obj'],
                               2 * score_divergence(student_scores, teacher_scores, labels != 2, 1.))
    torch.testing.assert_close(losses['loss_defeat_cls_bg'],
                               3 * score_divergence(student_scores, teacher_scores, labels == 2, 2.))
    sum(losses[key] for key in ('loss_defeat_cls_obj', 'loss_defeat_cls_bg')).backward()
    assert model.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_labels_of_the_head_term_are_those_of_the_box_head(distilled, build, batch):
    """mmdet's own targets of the same sampling results."""
    model = build(distilled('two', head=dict(roi_source='student')))
    with sampled_by(model.roi_head) as sampled:
        super(type(model).__mro__[1], model).loss(*batch)
    labels, *_ = model.roi_head.bbox_head.get_targets(sampled['sampling_results'], model.train_cfg.rcnn)
    assert torch.equal(rois_and_labels(sampled['sampling_results'], 2)[1], labels)


@pytest.mark.parametrize('masked', [False, True])
def test_backbone_stages(masked, distilled, build, batch):
    model = build(distilled('one', backbone=dict(
        stages=(2, 3), in_channels=[32, 64], teacher_channels=[48, 96], masked=masked)))
    losses = model.loss(*batch)
    student, teacher = model.backbone(batch[0])[2:], model.teacher.model.backbone(batch[0])[2:]
    adapted = [layer(item) for layer, item in zip(model.distiller.backbone.adapt, student, strict=True)]
    if masked:
        assert losses['loss_defeat_backbone_obj'] > 0 and losses['loss_defeat_backbone_bg'] > 0
    else:
        expected = sum((s - t).square().mean() / 2 for s, t in zip(adapted, teacher, strict=True)) / 2
        torch.testing.assert_close(losses['loss_defeat_backbone_obj'], expected)
        assert 'loss_defeat_backbone_bg' not in losses
    assert all(item.min() >= 0 for item in adapted)


def test_whole_feature_imitation_and_anchor_masks(distilled, build, batch):
    model = build(distilled('one', masks=dict(kind='whole')))
    losses = model.loss(*batch)
    student, teacher = model.extract_feat(batch[0]), model.teacher.model.extract_feat(batch[0])
    expected = sum((layer(s) - t).square().mean() / 2 for layer, s, t in zip(
        model.distiller.neck.adapt, student, teacher, strict=True)) / 3
    torch.testing.assert_close(losses['loss_defeat_obj'], 4 * expected)
    assert 'loss_defeat_bg' not in losses
    anchors = [torch.tensor([[0., 0., 8., 8.], [8., 0., 16., 8.], [0., 8., 8., 16.], [8., 8., 16., 16.]])]
    masks = anchor_masks([torch.tensor([[0., 0., 8., 12.]]), torch.zeros(0, 4)], anchors, [(2, 2)])
    # IoU 2/3 above, 1/4 below: more than half of the best for the first alone
    assert masks[0].tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 0]]]
    losses = build(distilled('one', masks=dict(kind='fgfi'))).loss(*batch)
    assert losses['loss_defeat_obj'] > 0 and losses['loss_defeat_bg'] > 0


def test_boxes_beyond_the_maps():
    """A box without area on the border sets the last cell; one outside sets nothing."""
    boxes = [torch.tensor([[64., 64., 64., 64.]]), torch.tensor([[80., 10., 96., 30.]])]
    masks = object_masks(boxes, [(8, 8)], [8])[0]
    assert masks[0].nonzero().tolist() == [[7, 7]] and masks[1].sum() == 0
    every = object_masks([torch.tensor([[0., 0., 16., 16.]])], [(8, 8), (4, 4)], [8, 16], mask_assign='all')
    assert [mask.sum() for mask in every] == [4, 1]


def test_testing_needs_no_teacher(distilled, plain, batch):
    missing = dict(config='no/such/config.py', checkpoint='no/such/file.pth')
    model = MODELS.build(distilled('one', teacher=missing)).eval()
    alone = MODELS.build(plain('one')).eval()
    alone.load_state_dict({key: value for key, value in model.state_dict().items() if 'distiller' not in key})
    found, expected = (item.predict(batch[0], copy.deepcopy(batch[1])) for item in (model, alone))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)
    with pytest.raises(ConfigError, match=r'no/such/config\.py: no such config file'):
        model.init_weights()


def test_checkpoint_of_the_teacher(distilled, plain, build, tmp_path):
    path = tmp_path / 'teacher.pth'
    teacher = save_teacher(plain('one', width=12, channels=24), path)
    model = build(distilled('one', teacher=dict(checkpoint=str(path))))
    for key, value in teacher.state_dict().items():
        assert torch.equal(model.teacher.model.state_dict()[key], value)
    model.teacher.check_classes(('square', 'disc'))
    with pytest.raises(ConfigError, match='disc, square.*the same names in the same order'):
        model.teacher.check_classes(('disc', 'square'))
    with pytest.raises(CheckpointError, match=r'other\.pth: no such checkpoint file.*teacher\.pth'):
        build(distilled('one', teacher=dict(checkpoint=str(tmp_path / 'other.pth'))))
    save_teacher(plain('one'), path)
    with pytest.raises(CheckpointError, match=r'(?s)model\.teacher\.checkpoint=.*of another shape'):
        build(distilled('one', teacher=dict(checkpoint=str(path))))


def change(config, **values):
    """The config as a dict with keys like 'a.b' replaced."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        part, *path = config, *key.split('__')
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
    return config


@pytest.mark.parametrize('changes, message', [
    (dict(teacher__config__model__bbox_head__num_classes=3), 'knows 3 classes, the student 2'),
    (dict(teacher__config__model__data_preprocessor__mean=[0, 0, 0]), r'normalised with mean \[0, 0, 0\]'),
    (dict(teacher__config__model__backbone__strides=(1, 1, 2, 2)), r'map 0 has another stride.*: 24 channels'),
    (dict(teacher__config__model__neck__num_outs=4), 'expects 3 maps, the student has 3, the teacher 4'),
    (dict(defeat__neck__teacher_channels=16), 'teacher_channels is 16 for map 0, the teacher has 24'),
    (dict(defeat__neck__in_channels=8), 'in_channels is 8 for map 0, the student has 16'),
    (dict(defeat__head=dict()), 'one-stage detectors do not have'),
    (dict(defeat__masks=dict(kind='gaussian')), "expected one of .'gt', 'whole', 'fgfi'"),
    (dict(defeat__masks=dict(strides=[8, 16])), r'the neck has 3 levels, but the strides are \[8, 16\]'),
    (dict(defeat__decay='linear'), 'DeFeatHook')])
def test_what_does_not_fit_is_named(changes, message, distilled, build, batch):
    with pytest.raises(ConfigError, match=message):
        build(change(distilled('one'), **changes)).loss(*batch)


def test_teacher_of_other_classes_on_request(distilled, build, batch):
    config = change(distilled('one'), teacher__config__model__bbox_head__num_classes=3)
    config.teacher.allow_other_classes = True
    assert build(config).loss(*batch)['loss_defeat_obj'] > 0
    config.teacher.update(allow_other_classes=False, num_classes=2)  # what `classes=a,b` does
    assert build(config).teacher.model.bbox_head.num_classes == 2
