"""The contrastive loss of IPT's pre-training (arXiv 2012.00364, section 3.2): patches of one image attract each other.

Two forms exist. The paper's compares each pair of patches of an image with the same pair across images, without a
temperature; its denominator leaves the positive pair out, so that the loss may be negative. The released (MindSpore)
training code has the supervised contrastive loss (arXiv 2004.11362) with the image as the class. The latter is the
default, since it is the only one that is known to have trained anything.

With all patches of a batch the similarities are (batch * patches)^2 numbers, 1 GiB for 64 images of 256 patches, and
training holds them about three times; `num_patches` draws some patches, the same for all images (an option of this
suite, not of paper or code).
"""

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

FORMS = ('supcon', 'paper')


@MODELS.register_module()
class PatchContrastiveLoss(nn.Module):
    """Contrastive loss between the patches of a batch.

    Args:
        form (str): 'supcon' (released code) or 'paper'.
        temperature (float): Divides the similarities of 'supcon'; the paper's form has none.
        num_patches (int, optional): Patches of each image to draw at random in each step; None takes all.
        loss_weight (float): Factor; 0.1 is the best one of the paper's ablation, and the code's.

    Shape: features (B, N, D), for example of the decoder, in any scale; a scalar.

    Raises:
        ValueError: unknown form; from `forward`: features that leave nothing to compare.
    """

    def __init__(self, form='supcon', temperature=0.07, num_patches=None, loss_weight=0.1):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f'PatchContrastiveLoss: form={form!r}, expected one of {FORMS}')
        self.form, self.temperature = form, temperature
        self.num_patches, self.loss_weight = num_patches, loss_weight

    def forward(self, features):
        if self.num_patches is not None and self.num_patches < features.shape[1]:
            features = features[:, torch.randperm(features.shape[1], device=features.device)[:self.num_patches]]
        images, patches = features.shape[:2]
        if self.form == 'paper' and images < 2 or self.form == 'supcon' and patches < 2:
            raise ValueError(f'PatchContrastiveLoss: {images} images of {patches} patches; form {self.form!r} needs '
                             f'{"2 images" if self.form == "paper" else "2 patches (num_patches)"} or more')
        with torch.autocast(features.device.type, enabled=False):  # sums of exponentials need single precision
            features = F.normalize(features if features.dtype == torch.float64 else features.float(), dim=-1)
            loss = _paper(features) if self.form == 'paper' else _supcon(features, self.temperature)
        return self.loss_weight * loss


def _paper(features):
    """Mean over images j and patches a, b of log sum_{k != j} exp d(a of j, b of k) - d(a of j, b of j)."""
    similarity = torch.einsum('jad,kbd->jkab', features, features)
    same = torch.eye(len(features), dtype=torch.bool, device=features.device)[..., None, None]
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1)
    # the mean similarity of all pairs within an image is the squared length of its mean feature
    return others.mean() - features.mean(dim=1).square().sum(dim=-1).mean()


def _supcon(features, temperature):
    """Mean over patches of the mean over their image's other patches of -log softmax, among all other patches."""
    patches = features.shape[1]
    rows = features.flatten(0, 1)
    others = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf).logsumexp(dim=1)
    # sum over the pairs of different patches within each image, from the length of the image's summed feature
    pairs = features.sum(dim=1).square().sum() - features.square().sum()
    return others.mean() - pairs / (temperature * len(rows) * (patches - 1))
