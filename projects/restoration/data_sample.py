"""What travels beside an image through loading, model and metrics."""

from mmengine.structures import BaseDataElement


class RestorationDataSample(BaseDataElement):
    """Images and facts about one sample.

    Fields, tensors (3, H, W) in RGB, or (1, H, W) for a truth that is compared as grey:
        gt_img: the truth; uint8 or float 0..255, in training normalised by the data preprocessor.
        input: the network's input as it was loaded, when testing.
        pred_img: the restored image, float 0..255, clamped and not rounded.

    Meta: `img_path`, `gt_path`, `key` (the image's name without what the template adds), `scale`, `gt_is_grey`, and
    what the pipeline notes.
    """
