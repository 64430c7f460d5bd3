"""TokenFusion for image translation: official outputs, losses and updates, data, metrics."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import METRICS, MODELS
from torch.nn import functional

from projects.runtime.errors import CheckpointError, ConfigError, DataError
from projects.token_fusion import TokenFusionTranslator
from projects.token_fusion.translation import (
    PatchUpsample,
    TaskonomyDataset,
    TokenFusionDiscriminator,
    TokenFusionGenerator,
    convert_generator,
    frechet_distance,
    kernel_distance_of_subsets,
)
from projects.token_fusion.translation.domains import read_domain

ARCH = dict(embed_dims=(8, 8, 12), num_heads=(1, 1, 2), depths=(1, 1, 1), sr_ratios=(2, 2, 1))
SMALL = dict(arch=ARCH, mlp_ratio=2, drop_path_rate=0.)
INPUTS = ('reshading', 'edge_texture')


@pytest.fixture(scope='module')
def stored(golden):
    """Function: a file of stored outputs of the official code."""
    return lambda name: np.load(golden / f'token_fusion/{name}.npz')


# ---- networks

def test_generator_is_the_official_one(stored):
    """Through the converter of official names, with the prefix of a data-parallel model and a norm that is not used."""
    files, weights = stored('img2img_generator_tiny_io'), stored('img2img_generator_tiny_weights')
    arch = {key: tuple(map(int, files[key])) for key in ARCH}
    generator = TokenFusionGenerator(2, arch, mlp_ratio=int(files['mlp_ratio']), drop_path_rate=0.).eval()
    generator.load_state_dict(convert_generator(
        {f'module.{key[2:]}': torch.from_numpy(weights[key]) for key in weights.files}))
    with torch.no_grad():
        images, ensemble, scored = generator(torch.from_numpy(np.stack([files['in0'], files['in1']])))
    close = dict(atol=5e-5, rtol=1e-3)
    np.testing.assert_allclose(images, np.stack([files['out0'], files['out1']]), **close)
    np.testing.assert_allclose(ensemble, files['out_ens'], **close)
    assert [layer.stage for layer in scored] == [0, 1, 2, 3, 4]
    for layer in scored:
        for m in range(2):
            np.testing.assert_allclose(layer.scores[m].flatten(), files[f'mask_s{layer.stage}_m{m}'], **close)


def test_unknown_official_name():
    with pytest.raises(CheckpointError, match="'encoder.x'.*patch_embed_enc"):
        convert_generator({'encoder.x': torch.zeros(1)})


def test_upsampling_is_the_official_one(stored):
    files = stored('img2img_patch_upsample')
    upsample = PatchUpsample(16, 8)
    upsample.proj.load_state_dict({key: torch.from_numpy(files[f'w.proj.module.{key}']) for key in ('weight', 'bias')})
    maps = upsample(torch.from_numpy(np.stack([files['x0'], files['x1']])))
    tokens = maps.flatten(3).transpose(2, 3).detach()
    np.testing.assert_allclose(tokens, np.stack([files['out0'], files['out1']]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('network,arch,millions', [
    (TokenFusionGenerator, 'b0', 17.6), (TokenFusionGenerator, 'b1', 70.0), (TokenFusionGenerator, 'b2', 131.1),
    (TokenFusionDiscriminator, 'b0', 12.2), (TokenFusionDiscriminator, 'b2', 85.3)])
def test_sizes_of_the_official_networks(network, arch, millions):
    with torch.device('meta'):
        count = sum(parameter.numel() for parameter in network(arch=arch).parameters())
    assert round(count / 1e6, 1) == millions


def test_sizes_that_do_not_fit():
    with pytest.raises(ConfigError, match="arch='b9'.*b0, b1"):
        TokenFusionGenerator(arch='b9')
    with pytest.raises(DataError, match='36 x 32 pixels.*multiples of 8'):
        TokenFusionGenerator(**SMALL)(torch.zeros(2, 1, 3, 36, 32))


# ---- model

def translator(inputs=INPUTS, fusion='exchange', **generator):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TokenFusionTranslator', inputs=inputs, fusion=fusion,
                              generator=SMALL | generator, discriminator=SMALL))
    assert isinstance(model, TokenFusionTranslator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def optimisers(model, **optimizer):
    wrapper = dict(optimizer=optimizer)
    return build_optim_wrapper(model, dict(constructor='AdversarialOptimWrapperConstructor', generator=wrapper,
                                           discriminator=wrapper))


def batch(count=2, names=INPUTS, size=16, seed=0):
    """A collated batch as the data loader gives it."""
    rng = np.random.default_rng(seed)
    pack = Compose([dict(type='PackTranslationInputs')])
    return pseudo_collate([pack(dict(
        key=f'scene {index}', target='rgb', images={
            name: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for name in (*names, 'rgb')}))
        for index in range(count)])


def official_losses(model, streams, target):
    """Losses of the official step, written out: probabilities, one modality after the other."""
    images, ensemble, scored = model.generator(streams)

    def judged(image, truth):
        probability = model.discriminator(streams, image).sigmoid()
        return [functional.binary_cross_entropy(own, torch.full_like(own, truth)) for own in probability]

    of_discriminator = sum(0.5 * (real + fake) for real, fake in zip(
        judged(target.expand_as(images), 1.), judged(images.detach(), 0.), strict=True))
    distance = sum((image - target).abs().mean() for image in (*images, ensemble))
    # the official batch is one image, and the scores are summed
    sparsity = 1e-3 * sum(layer.scores.abs().sum() for layer in scored) / len(target)
    return of_discriminator, sum(judged(images, 1.)) + 100 * distance + sparsity


def test_each_network_moves_by_its_own_loss():
    """SGD with rate 1 moves a weight by its gradient: first the discriminator, then the generator, which meets it."""
    model = translator()
    data = batch()
    inputs = model.data_preprocessor(copy.deepcopy(data), True)
    target = torch.stack([sample.gt_img for sample in inputs['data_samples']])
    twin = copy.deepcopy(model)
    log = model.train_step(data, optimisers(model, type='SGD', lr=1e-2))
    for name, index in (('discriminator', 0), ('generator', 1)):
        loss = official_losses(twin, inputs['inputs'], target)[index]
        assert log[f'loss_{name}'].item() == pytest.approx(loss.item(), rel=1e-5)
        network = getattr(twin, name)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.sub_(1e-2 * gradient)
        for (key, new), expected in zip(getattr(model, name).named_parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(new, expected, atol=2e-5, rtol=1e-3, msg=f'{name}.{key}')
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert {'loss_d_real', 'loss_g_l1_ensemble', 'loss_token_sparsity', 'replaced_reshading_s0'} <= set(log)


@pytest.mark.parametrize('inputs,fusion,generator', [
    (INPUTS, 'concat', {}), (INPUTS, 'none', {}), (INPUTS[:1], 'none', {}),
    ((*INPUTS, 'normal'), 'exchange', dict(input_size=(16, 16))),
    (INPUTS, 'exchange', dict(shared_layers=False, channel_threshold=1e-2))])
def test_variants_train_all_their_weights(inputs, fusion, generator):
    """Comparison rows and three inputs; a model takes its part of what is loaded."""
    model = translator(inputs, fusion, **generator)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    log = model.train_step(batch(names=(*INPUTS, 'normal')), optimisers(model, type='SGD', lr=1e-2))
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []
    assert ('loss_token_sparsity' in log) == (fusion == 'exchange')
    assert ('loss_channel_sparsity' in log) == ('channel_threshold' in generator)
    model.eval()
    [sample] = model.val_step(batch(1, names=(*INPUTS, 'normal')))
    branches = 1 if fusion == 'concat' else len(inputs)
    assert sample.pred_branches.shape == (branches, 3, 16, 16) and sample.inputs.shape == (len(inputs), 3, 16, 16)
    assert ('replaced' in sample) == (fusion == 'exchange')


def test_models_that_cannot_be():
    with pytest.raises(ConfigError, match="two or more inputs.*fusion='none'"):
        translator(INPUTS[:1])
    with pytest.raises(ConfigError, match="fusion='add'"):
        translator(fusion='add')
    model = translator(('normal', 'rgb'))
    with pytest.raises(ConfigError, match='normal, rgb is not loaded.*reshading, edge_texture'):
        model.val_step(batch())
    model.discriminator = None
    with pytest.raises(ConfigError, match='discriminator is None'):
        model.train_step(batch(), {})
    with pytest.raises(ConfigError, match='discriminator.*amiss'):
        build_optim_wrapper(model, dict(constructor='AdversarialOptimWrapperConstructor', generator={}))


def test_what_is_set_for_both_optimisers():
    """As ``--amp`` sets a type and a loss scale."""
    wrappers = build_optim_wrapper(translator(), dict(
        constructor='AdversarialOptimWrapperConstructor', accumulative_counts=3,
        generator=dict(optimizer=dict(type='Adam', lr=1e-3)), discriminator=dict(optimizer=dict(type='SGD', lr=1e-2))))
    assert [part._accumulative_counts for part in wrappers.values()] == [3, 3]
    assert wrappers.get_lr() == {'generator.lr': [1e-3], 'discriminator.lr': [1e-2]}


# ---- data

@pytest.fixture
def taskonomy(tmp_path):
    """Folder with two scenes of four domains, 12 x 16 pixels."""
    rng = np.random.default_rng(0)
    (tmp_path / 'list.txt').write_text(''.join(f'{{domain}}/p{i}_domain_{{domain}}.png\n' for i in range(2)))
    for domain, shape, kind, top in (('rgb', (12, 16, 3), np.uint8, 255), ('reshading', (12, 16), np.uint8, 255),
                                     ('depth_euclidean', (12, 16), np.uint16, 65535),
                                     ('edge_texture', (12, 16), np.uint16, 11355)):
        (tmp_path / domain).mkdir()
        for i in range(2):
            image = rng.integers(0, top, shape, dtype=kind, endpoint=True)
            assert cv2.imwrite(str(tmp_path / f'{domain}/p{i}_domain_{domain}.png'), image)
    return tmp_path


def dataset(folder, inputs=('reshading', 'depth_euclidean', 'edge_texture'), target='rgb', pipeline=(),
            lines='list.txt'):
    return TaskonomyDataset(ann_file=lines, inputs=inputs, target=target, data_root=str(folder), pipeline=pipeline)


def test_domains_become_eight_bits(taskonomy):
    """Scaling of the official code; values are cut, not rounded; channels are RGB."""
    raw = {domain: cv2.imread(str(taskonomy / f'{domain}/p0_domain_{domain}.png'), cv2.IMREAD_UNCHANGED)
           for domain in ('rgb', 'reshading', 'depth_euclidean', 'edge_texture')}
    expected = dict(rgb=raw['rgb'][..., ::-1], reshading=raw['reshading'],
                    depth_euclidean=np.floor(np.log(1 + raw['depth_euclidean'].astype(float)) * 255 / 11.1),
                    edge_texture=np.floor(raw['edge_texture'] * (255 / 11355)))
    [sample, _] = dataset(taskonomy, pipeline=[dict(type='LoadTaskonomyImages'), dict(type='PackTranslationInputs')])
    found = sample['inputs'] | dict(rgb=sample['data_samples'].gt_img)
    for domain, image in expected.items():
        image = np.broadcast_to(image if image.ndim == 3 else image[..., None], (12, 16, 3))
        assert np.array_equal(found[domain].permute(1, 2, 0), image), domain


def test_augmentation_keeps_domains_aligned(taskonomy):
    """The same image as each domain stays the same; the crop reaches every place and never the outside."""
    ramp = 1 + np.arange(10 * 10, dtype=np.uint8).reshape(10, 10, 1).repeat(3, 2)
    pipeline = Compose([dict(type='TaskonomyRandomCrop', size=8), dict(type='TaskonomyFlip', prob=0.5)])
    np.random.seed(0)
    seen = set()
    for _ in range(200):
        images = pipeline(dict(key='', images=dict(a=ramp, b=ramp)))['images']
        assert images['a'].shape == (8, 8, 3) and np.array_equal(images['a'], images['b'])
        seen.add((int(images['a'].min()), bool(images['a'][0, 0, 0] > images['a'][0, 1, 0])))
    assert seen == {(1 + 10 * top + left, flip) for top in range(3) for left in range(3) for flip in (False, True)}


def test_data_errors(taskonomy):
    """Each names the file or key and what is expected."""
    load = [dict(type='LoadTaskonomyImages')]
    with pytest.raises(DataError, match="dataset.inputs: 'shade' is no domain.*reshading"):
        dataset(taskonomy, ('shade',))
    with pytest.raises(DataError, match='target that is none of them'):
        dataset(taskonomy, ('rgb',))
    with pytest.raises(DataError, match='none.txt: no such list'):
        dataset(taskonomy, lines='none.txt')
    with pytest.raises(DataError, match=r'normal: 2 of 2, the first is .*normal/p0_domain_normal.png'):
        dataset(taskonomy, ('normal',))
    (taskonomy / 'bad.txt').write_text('rgb/p0.png\n')
    with pytest.raises(DataError, match='no {domain}; expected'):
        dataset(taskonomy, lines='bad.txt')
    path = str(taskonomy / 'edge_texture/p0_domain_edge_texture.png')
    cv2.imwrite(path, np.zeros((12, 16), np.uint8))
    with pytest.raises(DataError, match='8 bits and 1 channels; expected 16 bits and 1 channel for.*edge_texture'):
        dataset(taskonomy, pipeline=load)[0]
    cv2.imwrite(path, np.zeros((12, 12), np.uint16))
    with pytest.raises(DataError, match='differ in height and width.*12 x 12'):
        dataset(taskonomy, pipeline=load)[0]
    (taskonomy / 'empty.png').write_bytes(b'')
    with pytest.raises(DataError, match=r'empty.png: the image file \(0 bytes\)'):
        read_domain(str(taskonomy / 'empty.png'), 'rgb')


# ---- metrics

def test_distances_are_the_official_ones(stored):
    files = stored('fid_kid')
    made, real = files['feat_fake'], files['feat_real']
    assert frechet_distance(made, real) == pytest.approx(float(files['fid']), rel=1e-6)
    assert 100 * kernel_distance_of_subsets(made, real, 50, 1000, 0) == pytest.approx(
        float(files['kid_x100']), rel=1e-6)
    # with 3 samples of 16 features the covariances are singular
    assert frechet_distance(made[:3], made[:3]) == pytest.approx(0, abs=1e-6)


class Mean(torch.nn.Module):
    """Stands for Inception: mean colour, 0..1."""

    def forward(self, images):
        return images.mean((2, 3))


def predictions(count):
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 3, 4, 4, generator=rng) * 2 - 1
    return [dict(key=str(i), pred_img=image[0], pred_branches=image[1:2], gt_img=image[2], branches=('rgb',))
            for i, image in enumerate(images)]


def test_metrics_of_images(tmp_path):
    """Means over images; features come from a TorchScript file and see 8-bit images."""
    torch.jit.script(Mean()).save(str(tmp_path / 'mean.pt'))
    samples = predictions(5)
    error = METRICS.build(dict(type='TranslationError'))
    distance = METRICS.build(dict(type='FeatureDistance', features=dict(
        type='TorchScriptFeatures', path=str(tmp_path / 'mean.pt'), size=None, value_range=(0, 1))))
    for part in (samples[:2], samples[2:]):
        for metric in (error, distance):
            metric.process(None, part)
    made, real = (torch.stack([sample[key] for sample in samples]) for key in ('pred_img', 'gt_img'))
    found = error.evaluate(5)
    assert found == dict(MAE=pytest.approx((made - real).abs().mean().item(), rel=1e-5),
                         MSE=pytest.approx((made - real).square().mean().item(), rel=1e-5))
    features = [(((image + 1) * 127.5).round() / 255).mean((2, 3)).numpy() for image in (made, real)]
    assert distance.evaluate(5) == dict(
        FID=pytest.approx(frechet_distance(*features), rel=1e-3),
        KID=pytest.approx(100 * kernel_distance_of_subsets(*features, 1, 1000, 0), rel=1e-3))


def test_metrics_that_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match='Inception-v3.*features.path=FILE'):
        METRICS.build(dict(type='FeatureDistance'))
    with pytest.raises(CheckpointError, match='none.pt: no such file'):
        METRICS.build(dict(type='FeatureDistance', features=dict(type='TorchScriptFeatures', path='none.pt')))
    (tmp_path / 'broken.pt').write_bytes(b'PK')
    with pytest.raises(CheckpointError, match='broken.pt: not a TorchScript file'):
        METRICS.build(dict(type='FeatureDistance', features=dict(
            type='TorchScriptFeatures', path=str(tmp_path / 'broken.pt'))))
    metric = METRICS.build(dict(type='FeatureDistance', features=dict(type='RandomConvFeatures'), image='normal'))
    with pytest.raises(DataError, match="image='normal'.*'ensemble' or one of rgb"):
        metric.process(None, predictions(2))
    sample = predictions(1)[0]
    del sample['gt_img']
    with pytest.raises(DataError, match='0: no target'):
        METRICS.build(dict(type='TranslationError')).process(None, [sample])
