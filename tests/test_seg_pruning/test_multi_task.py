"""The search: which loss reaches which scores, and what each phase changes."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

from projects.runtime.errors import ConfigError
from projects.seg_pruning import taylor_importance, weight_importance

SIZE = (40, 48)
OPTIMISER = dict(constructor='ScoreOptimWrapperConstructor', type='OptimWrapper',
                 optimizer=dict(type='SGD', lr=0.05), score_optimizer=dict(type='SGD', lr=0.1))


@pytest.fixture
def search(config):
    """Function: a search model; the same weights for the same architecture."""
    def make(classifier=True, **options):
        torch.manual_seed(0)
        return MODELS.build(dict(type='MultiTaskPruning', architecture=config(auxiliary=False, dropout_ratio=0),
                                 classifier=dict(num_classes=3) if classifier else None, size=SIZE, **options))
    return make


@pytest.fixture
def config(config):
    """No dropout: two passes give the same."""
    def make(**options):
        model = config(**{key: value for key, value in options.items() if key != 'dropout_ratio'})
        model['decode_head']['dropout_ratio'] = 0
        return model
    return make


def parts(gradients):
    return {name.split('.')[0] for name in gradients}


def test_head_scores_see_segmentation_alone(search, batch):
    model = search()
    found = model.score_gradients(model.prepare(batch()))
    assert parts(found['seg']) == {'backbone', 'decode_head'} and parts(found['cls']) == {'backbone'}
    assert set(found['seg']) == set(model.graph.groups)
    assert all(gradient.abs().sum() > 0 for gradients in found.values() for gradient in gradients.values())


def test_shared_scores_get_the_sum_of_both_gradients(search, batch):
    model = search(seg_weight=2.0, cls_weight=0.5, normalize_grads=False)
    data = model.prepare(batch())
    found = model.score_gradients(data)
    joint = model.joint_gradients(found)
    losses = model.task_losses(data)
    total = 2.0 * losses['seg']['decode.loss_ce'] + 0.5 * losses['cls']['loss_cls']
    total.backward()
    for name, score in model.scores.items():
        torch.testing.assert_close(joint[name], score.grad, atol=1e-6, rtol=1e-4)
    head = 'decode_head.bottleneck.conv'
    torch.testing.assert_close(joint[head], 2.0 * found['seg'][head])


def test_normalised_gradients_do_not_depend_on_the_scale_of_a_loss(search, batch):
    model = search()
    found = model.score_gradients(model.prepare(batch()))
    louder = {task: {name: value * (1000 if task == 'cls' else 1) for name, value in gradients.items()}
              for task, gradients in found.items()}
    joint = model.joint_gradients(found)
    model.grad_scale.zero_()
    model.grad_count.zero_()
    again = model.joint_gradients(louder)
    for name, value in joint.items():
        torch.testing.assert_close(again[name], value)
    values = torch.cat([found['seg'][name] for name in model.graph.groups])
    expected = found['seg']['decode_head.bottleneck.conv'] / values.abs().mean()
    torch.testing.assert_close(joint['decode_head.bottleneck.conv'], expected)


def steps(model, batch, count=2):
    wrapper = build_optim_wrapper(model, copy.deepcopy(OPTIMISER))
    model.train()
    for seed in range(count):
        log = model.train_step(batch(seed), wrapper)
    return log


def test_weight_zero_ranks_as_segmentation_alone(search, batch):
    """mu = 0 is the search without the classification task."""
    with_task, without = search(cls_weight=0), search(classifier=False)
    without.load_state_dict({key: value for key, value in with_task.state_dict().items()
                             if not key.startswith('classification.')})
    for model in (with_task, without):
        steps(model, batch)
    joint = search()
    joint.load_state_dict(search(cls_weight=0).state_dict())
    steps(joint, batch)
    differ = False
    for name, score in with_task.importance().items():
        assert torch.equal(score, without.importance()[name])
        assert torch.equal(score.argsort(), without.importance()[name].argsort())
        differ |= not torch.equal(score, joint.importance()[name])
    assert differ
    head = 'decode_head.image_pool.1.conv'
    assert not torch.equal(with_task.importance()[head], torch.ones(16))


def test_a_phase_changes_one_kind(search, batch):
    model = search(weight_steps=2)
    wrapper = build_optim_wrapper(model, copy.deepcopy(OPTIMISER))
    model.train()
    kinds = ('architecture', 'classification', 'scores')

    def changed(before):
        now = dict(model.named_parameters())
        return {kind for kind in kinds
                if any(not torch.equal(value, now[key]) for key, value in before.items() if key.startswith(kind))}

    def state():
        return {key: value.detach().clone() for key, value in model.named_parameters()}

    before = state()
    model.train_step(batch(0), wrapper)
    assert changed(before) == {'architecture', 'classification'}  # K = 2: the scores wait
    model.train_step(batch(1), wrapper)
    assert changed(before) == set(kinds)
    before, data = state(), model.prepare(batch(2))
    model._weight_phase(data, wrapper['weights'])
    assert changed(before) == {'architecture', 'classification'}
    before = state()
    model._score_phase(data, wrapper['scores'])
    assert changed(before) == {'scores'}
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize('update', ['proximal', 'plain'])
def test_update_of_scores(update, search, batch, monkeypatch):
    """lr 0.1, rho 2, gradients 3, -1 and 20: proximal max(s - lr g - lr rho, 0), plain s - lr (g + rho sign s)."""
    model = search(update=update, sparsity=2.0, normalize_grads=False)
    wrapper = build_optim_wrapper(model, copy.deepcopy(OPTIMISER))
    name = 'backbone.layer1.0.conv1'
    gradient = torch.tensor([3., -1., 20., 0., 0., 0., 0., 0.])
    with torch.no_grad():
        model.scores[name][3] = 0
    monkeypatch.setattr(model, 'score_gradients', lambda data: dict(seg={name: gradient}))
    model._score_phase({}, wrapper['scores'])
    fourth = 0.  # a zero stays one: the subgradient of |s| at 0 is 0, and the threshold moves nothing below it
    expected = torch.tensor([0.5, 0.9, 0., fourth, 0.8, 0.8, 0.8, 0.8])
    torch.testing.assert_close(model.scores[name].detach(), expected)
    other = 'backbone.layer1.1.conv1'
    assert torch.equal(model.scores[other].detach(), torch.ones(8))  # no task has seen it


def test_dense_checkpoint_becomes_both_tasks(search, build, config):
    dense = build(config(auxiliary=False), seed=7)
    model = search()
    result = model.load_state_dict(dense.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert {key.split('.')[0] for key in result.missing_keys} == {'scores', 'classification', 'steps', 'grad_scale',
                                                                 'grad_count'}
    assert [key for key in result.missing_keys if key.startswith('classification')] == [
        'classification.fc.weight', 'classification.fc.bias']
    for key, value in dense.state_dict().items():
        assert torch.equal(model.state_dict()[f'architecture.{key}'], value)
        if key.startswith('backbone.'):
            assert torch.equal(model.state_dict()[f'classification.{key}'], value)
    image = torch.randn(1, 3, *SIZE)
    model.eval()
    torch.testing.assert_close(model(image), dense(image))  # scores of 1 change nothing
    again = search()
    again.load_state_dict(model.state_dict())  # its own checkpoint


def test_folded_search_is_the_search(search, batch):
    model = search()
    steps(model, batch)
    model.eval()
    image = torch.randn(1, 3, *SIZE)
    plain = model.folded()
    torch.testing.assert_close(plain(image), model(image), atol=1e-5, rtol=1e-4)
    assert set(plain.state_dict()) == {key.removeprefix('architecture.') for key in model.state_dict()
                                       if key.startswith('architecture.')}


def test_log_and_predictions(search, batch):
    model = search()
    log = steps(model, batch, 1)
    assert {'loss', 'decode.loss_ce', 'loss_cls', 'acc_cls', 'score_mean', 'score_zeros'} <= set(log)
    torch.testing.assert_close(log['loss'], log['decode.loss_ce'] + log['loss_cls'])
    model.eval()
    [result, _] = model.test_step(batch()['seg'])
    assert result.pred_sem_seg.data.shape == (1, *SIZE)


def test_taylor_sees_both_tasks(search, batch):
    """Each task over its layers' means: the importance of a layer both see averages 1 + mu, a head's 1."""
    def importance(**options):
        model = search(**options)
        return taylor_importance(model, [batch(0), batch(1)]), model

    both, model = importance(cls_weight=0.5)
    for name, values in both.items():
        expected = 1.5 if name.startswith('backbone') else 1.0
        assert values.mean().item() == pytest.approx(expected, abs=1e-4) and (values >= 0).all()
    seg, _ = importance(cls_weight=0)
    cls, _ = importance(seg_weight=0)
    alone = 'backbone.layer4.1.conv1'
    torch.testing.assert_close(both[alone], seg[alone] + 0.5 * cls[alone])
    head = 'decode_head.bottleneck.conv'
    assert torch.equal(both[head], seg[head])
    norms = weight_importance('l1', model.architecture, model.graph)
    torch.testing.assert_close(cls[head] / cls[head].mean(), norms[head] / norms[head].mean())  # no task saw it


def test_weight_importance_by_hand(search):
    model = search(prune_residual=True)
    net, graph = model.architecture, model.graph
    with torch.no_grad():
        for index, module in enumerate(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            module.weight.copy_(torch.linspace(-1, 2, len(module.weight)) * (index + 1))
    scales = weight_importance('bn_scale', net, graph)
    name = 'backbone.layer1.0.conv1'
    assert torch.equal(scales[name], net.backbone.layer1[0].bn1.weight.abs())
    stage = net.backbone.layer2
    norms = torch.stack([norm.weight.abs() for norm in (stage[0].bn2, stage[0].downsample[1], stage[1].bn2)])
    torch.testing.assert_close(scales['backbone.layer2.0.conv2'], norms.mean(0))  # a stream: mean of its members
    filters = net.backbone.layer1[0].conv1.weight.abs().sum((1, 2, 3))
    torch.testing.assert_close(weight_importance('l1', net, graph)[name], filters / filters.mean())
    first, second = (weight_importance('random', net, graph, seed=seed)[name] for seed in (0, 1))
    assert not torch.equal(first, second)
    with pytest.raises(ConfigError, match="method='fpgm': expected one of bn_scale, l1, uniform, random"):
        weight_importance('fpgm', net, graph)


def test_classification_alone_ranks_the_head_by_norm(search, batch):
    model = search(seg_weight=0)
    steps(model, batch)
    values = model.importance()
    head = 'decode_head.bottleneck.conv'
    assert torch.equal(model.scores[head].detach(), torch.ones(16))
    norms = weight_importance('l1', model.architecture, model.graph)[head]
    assert torch.equal(values[head].argsort(), norms.argsort())
    assert set(values) == set(model.graph.groups)


def test_settings_that_make_no_sense(search, batch, config):
    with pytest.raises(ConfigError, match=r"model\.update='adam': expected one of proximal, plain"):
        search(update='adam')
    with pytest.raises(ConfigError, match='neither task would rank the channels'):
        search(seg_weight=0, classifier=False)
    data = batch()
    data['cls'] = None
    with pytest.raises(ConfigError, match='no classification images come'):
        search().prepare(data)
    with pytest.raises(ConfigError, match='the search runs in full precision'):
        build_optim_wrapper(search(), {**OPTIMISER, 'type': 'AmpOptimWrapper'})
