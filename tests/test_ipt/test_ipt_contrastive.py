"""The contrastive loss against stored values in double precision, and what its forms need."""

import numpy as np
import pytest
import torch

from projects.ipt import PatchContrastiveLoss


@pytest.mark.parametrize('case', [0, 1])
@pytest.mark.parametrize('form, name', [('paper', 'paper'), ('supcon', 'code')])
def test_stored_values(golden, case, form, name):
    stored = {key.removeprefix(f'k{case}_'): torch.from_numpy(value)
              for key, value in np.load(golden / 'sr/ipt_contrastive.npz').items() if key.startswith(f'k{case}_')}
    features = stored['features'].clone().requires_grad_()
    loss = PatchContrastiveLoss(form, loss_weight=1.0)(features)
    assert loss.item() == pytest.approx(stored[f'loss_{name}'].item(), rel=1e-4)
    loss.backward()
    expected = stored[f'grad_{name}']
    assert (features.grad - expected).abs().max() < 1e-4 * expected.abs().max()


def test_paper_form_of_orthogonal_images():
    """Equal patches within an image, orthogonal images: positives have similarity 1, the B - 1 negatives 0."""
    features = torch.eye(4)[:, None].repeat(1, 6, 1)
    assert PatchContrastiveLoss('paper', loss_weight=1.0)(features).item() == pytest.approx(np.log(3) - 1, abs=1e-6)
    # the same image four times: positives and negatives cancel, but for their number
    assert PatchContrastiveLoss('paper', loss_weight=1.0)(features[:1].repeat(4, 1, 1)).item() == pytest.approx(
        np.log(3), abs=1e-6)


def test_scale_and_weight():
    features = torch.randn(3, 8, 5)
    assert PatchContrastiveLoss()(features).item() == pytest.approx(
        0.1 * PatchContrastiveLoss(loss_weight=1.0)(7 * features).item(), rel=1e-5)


@pytest.mark.parametrize('form', ['paper', 'supcon'])
def test_drawn_patches_are_those_of_all_images(form):
    """With features that depend on the image alone, any patches give the same loss; the draw itself is random."""
    images = torch.randn(3, 1, 5).repeat(1, 16, 1)
    drawn, few = PatchContrastiveLoss(form, num_patches=4), PatchContrastiveLoss(form)
    assert drawn(images).item() == pytest.approx(few(images[:, :4]).item(), rel=1e-5)
    varied = torch.randn(3, 16, 5)
    subsets = {round(drawn(varied).item(), 6) for _ in range(4)}
    assert len(subsets) > 1
    # whole columns are drawn: patch 3 of every image is an outlier, and it comes for all images or for none
    probe = torch.zeros(2, 16, 2)
    probe[..., 0], probe[:, 3] = 1, torch.tensor([0., 1.])
    one = PatchContrastiveLoss('paper', num_patches=1, loss_weight=1.0)
    assert {round(one(probe).item(), 5) for _ in range(40)} == {0.0}


def test_half_precision_is_computed_in_single():
    features = torch.randn(4, 8, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = PatchContrastiveLoss()(features)
    assert found.item() == pytest.approx(PatchContrastiveLoss()(features).item(), rel=1e-6)


def test_errors_name_the_way_out():
    with pytest.raises(ValueError, match="form='code', expected one of"):
        PatchContrastiveLoss('code')
    with pytest.raises(ValueError, match='2 images'):
        PatchContrastiveLoss('paper')(torch.randn(1, 4, 3))
    with pytest.raises(ValueError, match='2 patches'):
        PatchContrastiveLoss(num_patches=1)(torch.randn(2, 4, 3))
