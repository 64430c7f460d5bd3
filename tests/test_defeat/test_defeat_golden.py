"""Stored outputs of the official code: masks exactly, losses and gradients to rounding."""

import numpy as np
import pytest
import torch

from projects.defeat.losses import (
    BackboneLoss,
    DecoupledHeadLoss,
    DecoupledNeckLoss,
    decoupled_error,
    score_divergence,
)
from projects.defeat.masks import backbone_masks, box_levels, object_masks
from projects.defeat.schedule import DistillationSchedule

LOSS = dict(rtol=1e-5, atol=1e-6)
GRADIENT = dict(rtol=1e-4, atol=1e-6)


@pytest.fixture
def stored(golden):
    """Function: the arrays of a golden file, as tensors."""
    def load(name):
        with np.load(golden / 'defeat' / f'{name}.npz') as file:
            return {key: torch.from_numpy(file[key]) for key in file.files}
    return load


def boxes_of(data):
    return [boxes[:int(count)] for boxes, count in zip(data['gt_bboxes'], data['num_gts'], strict=True)]


def test_masks(stored):
    data = stored('gt_mask')
    boxes = boxes_of(data)
    levels = [box_levels(item, 5) for item in boxes]
    for found, expected in zip(levels, data['gt_levels'], strict=True):
        assert torch.equal(found, expected[:len(found)].long())
    sizes = [tuple(map(int, size)) for size in data['feat_sizes']]
    for level, mask in enumerate(object_masks(boxes, sizes, data['strides'].tolist())):
        assert torch.equal(mask, data[f'mask_l{level}']), level
    image_size = tuple(map(int, data['image_size']))
    assert torch.equal(backbone_masks(boxes, image_size, sizes[:1])[0], data['backbone_mask'])


@pytest.fixture
def neck(stored):
    """The neck's golden arrays, the student's maps as leaves, and the masks computed from the boxes."""
    data = stored('neck_decouple')
    student = [data[f'student_l{level}'].requires_grad_() for level in range(2)]
    teacher = [data[f'teacher_l{level}'] for level in range(2)]
    masks = object_masks(boxes_of(data), [tuple(item.shape[2:]) for item in student], data['strides'].tolist())
    for level, mask in enumerate(masks):
        assert torch.equal(mask, data[f'mask_l{level}'])
    return data, student, teacher, masks


def neck_loss(data, **settings):
    loss = DecoupledNeckLoss(8, num_levels=2, **settings)
    for level, layer in enumerate(loss.adapt or []):
        layer.load_state_dict(dict(weight=data[f'adapt_weight_l{level}'], bias=data[f'adapt_bias_l{level}']))
    return loss


def test_neck_with_adaptation(neck):
    data, student, teacher, masks = neck
    loss = neck_loss(data, alpha_obj=3, alpha_bg=12)
    objects, background = loss(student, teacher, masks)
    torch.testing.assert_close(objects, data['loss_obj_w3'], **LOSS)
    torch.testing.assert_close(background, data['loss_bg_w12'], **LOSS)
    total = objects + background
    torch.testing.assert_close(total, data['loss_total'], **LOSS)
    total.backward()
    for level in range(2):
        torch.testing.assert_close(student[level].grad, data[f'grad_student_l{level}'], **GRADIENT)
        torch.testing.assert_close(loss.adapt[level].weight.grad, data[f'grad_adapt_weight_l{level}'], **GRADIENT)
        torch.testing.assert_close(loss.adapt[level].bias.grad, data[f'grad_adapt_bias_l{level}'], **GRADIENT)


def test_neck_without_adaptation(neck):
    data, student, teacher, masks = neck
    objects, background = neck_loss(data, alpha_obj=4, alpha_bg=16, adapt=False)(student, teacher, masks)
    torch.testing.assert_close(objects, data['noadapt_loss_obj_w4'], **LOSS)
    torch.testing.assert_close(background, data['noadapt_loss_bg_w16'], **LOSS)
    (objects + background).backward()
    for level in range(2):
        torch.testing.assert_close(student[level].grad, data[f'noadapt_grad_student_l{level}'], **GRADIENT)


def test_neck_variants(neck):
    data, student, teacher, masks = neck
    schedule = DistillationSchedule('linear')
    schedule.advance(step=9, total=12, iteration=0)  # 1 - 9/12
    objects, background = neck_loss(data, alpha_obj=3, alpha_bg=12)(student, teacher, masks)
    torch.testing.assert_close(schedule.factor * objects, data['decay0p25_loss_obj_w3'], **LOSS)
    torch.testing.assert_close(schedule.factor * background, data['decay0p25_loss_bg_w12'], **LOSS)
    objects, background = neck_loss(data, alpha_obj=3, alpha_bg=0)(student, teacher, masks)
    torch.testing.assert_close(objects, data['objonly_loss_w3'], **LOSS)
    assert background == 0
    nothing = [torch.zeros_like(mask) for mask in masks]
    objects, background = neck_loss(data, alpha_obj=3, alpha_bg=12)(student, teacher, nothing)
    torch.testing.assert_close(objects, data['nogt_loss_obj_w3'], **LOSS)
    torch.testing.assert_close(background, data['nogt_loss_bg_w12'], **LOSS)


def test_backbone(stored):
    data = stored('backbone_decouple')
    student = [data[f'student_s{stage}'].requires_grad_() for stage in (1, 2, 3)]
    teacher = [data[f'teacher_s{stage}'] for stage in (1, 2, 3)]
    loss = BackboneLoss([6, 8, 10])
    for stage, layer in enumerate(loss.adapt, 1):
        layer.load_state_dict(dict(weight=data[f'adapt_weight_s{stage}'], bias=data[f'adapt_bias_s{stage}']))
    image_size, boxes = tuple(map(int, data['image_size'])), boxes_of(data)
    assert torch.equal(backbone_masks(boxes, image_size, [tuple(data['mask'].shape[1:])])[0], data['mask'])
    objects, background = loss(student, teacher,
                               backbone_masks(boxes, image_size, [tuple(item.shape[2:]) for item in student]))
    torch.testing.assert_close(objects, data['loss_obj_w1'], **LOSS)
    torch.testing.assert_close(background, data['loss_bg_w1'], **LOSS)
    (objects + background).backward()
    for stage, item in enumerate(student, 1):
        torch.testing.assert_close(item.grad, data[f'grad_student_s{stage}'], **GRADIENT)


@pytest.mark.parametrize('temperature', [1, 2])
def test_head(stored, temperature):
    data = stored('head_kl')
    student, teacher = data['student_logits'].requires_grad_(), data['teacher_logits']
    labels, num_classes = data['labels'].long(), int(data['num_classes'])
    key = f'T{temperature}'
    losses = DecoupledHeadLoss(num_classes, 2, 2, temperature, temperature)(student, teacher, labels)
    torch.testing.assert_close(losses['loss_defeat_cls_obj'], data[f'{key}_loss_obj_w2'], **LOSS)
    torch.testing.assert_close(losses['loss_defeat_cls_bg'], data[f'{key}_loss_bg_w2'], **LOSS)
    sum(losses.values()).backward()
    torch.testing.assert_close(student.grad, data[f'{key}_grad_student'], **GRADIENT)
    for proposals, name in dict(positive='fore', negative='back', all='all', correct='correct').items():
        one = DecoupledHeadLoss(num_classes, 1, temp_obj=temperature, proposals=proposals)(student, teacher, labels)
        torch.testing.assert_close(one['loss_defeat_cls'], data[f'{key}_{name}_loss_w1'], **LOSS)


def test_head_without_positive_proposals(stored):
    data = stored('head_kl')
    num_classes = int(data['num_classes'])
    losses = DecoupledHeadLoss(num_classes)(data['student_logits'], data['teacher_logits'],
                                            torch.full_like(data['labels'], num_classes).long())
    torch.testing.assert_close(losses['loss_defeat_cls_obj'], data['nopos_T1_loss_obj_w2'], **LOSS)
    torch.testing.assert_close(losses['loss_defeat_cls_bg'], data['nopos_T1_loss_bg_w2'], **LOSS)


def test_each_set_has_its_own_temperature(stored):
    """The golden numbers use one temperature for both sets; the two terms are independent."""
    data = stored('head_kl')
    losses = DecoupledHeadLoss(int(data['num_classes']), temp_obj=1, temp_bg=2)(
        data['student_logits'], data['teacher_logits'], data['labels'].long())
    torch.testing.assert_close(losses['loss_defeat_cls_obj'], data['T1_loss_obj_w2'], **LOSS)
    torch.testing.assert_close(losses['loss_defeat_cls_bg'], data['T2_loss_bg_w2'], **LOSS)


def test_the_two_parts_make_up_the_sum_of_squares():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, 6)
    mask = (torch.rand(3, 5, 6) > 0.7).float()
    objects, background = decoupled_error(student, teacher, mask)
    total = objects * 2 * 4 * mask.sum() + background * 2 * 4 * (1 - mask).sum()
    torch.testing.assert_close(total, (student - teacher).square().sum())
    whole, nothing = decoupled_error(student, teacher, None)
    torch.testing.assert_close(whole, (student - teacher).square().mean() / 2)
    assert nothing == 0


def test_equal_detectors_have_nothing_to_learn():
    maps = [torch.randn(2, 4, 6, 6), torch.randn(2, 4, 3, 3)]
    loss = DecoupledNeckLoss(4, num_levels=2)
    with torch.no_grad():
        for layer in loss.adapt:
            torch.nn.init.dirac_(layer.weight)
            layer.bias.zero_()
    parts = loss(maps, maps, [torch.ones(2, 6, 6), torch.zeros(2, 3, 3)])
    assert all(part == 0 for part in parts)
    logits = torch.randn(5, 4)
    assert score_divergence(logits, logits, torch.ones(5, dtype=torch.bool), 3.) == 0


def test_adaptation_layers_start_near_zero():
    torch.manual_seed(0)
    weight = DecoupledNeckLoss(32, 48, num_levels=1).adapt[0].weight
    assert weight.shape == (48, 32, 3, 3) and weight.abs().max() < 2e-4
    # a unit normal wrapped into (-2, 2) has a standard deviation of 0.866 (by numeric integration)
    assert abs(weight.std().item() / 1e-4 - 0.866) < 0.01
