"""What travels beside the images of a scene through loading, model and metrics."""

from mmengine.structures import BaseDataElement


class TranslationSample(BaseDataElement):
    """Images of one scene and facts about it.

    Fields, tensors in -1..1 if nothing else is said:
        gt_img: (3, H, W), the image to be made; uint8 before the data preprocessor.
        pred_img: (3, H, W), the ensemble.
        pred_branches: (M, 3, H, W), the image of each branch.
        inputs: (M, 3, H, W), the inputs, when testing.
        replaced: (M, H, W), the share of scored layers in which the token at a pixel was replaced, 0..1; absent
            without exchange.

    Meta: ``key`` (line of the list), ``target`` (domain), ``branches`` (names of the M branches) and ``input_names``.
    """
