# The convolutional twin of adder_fcos_r50.py: same graph, same recipe, only the operator differs. It is not the
# paper's conv baseline (38.4 AP), which has frozen statistics and a plain FPN. Its backbone begins with ImageNet's
# weights; the adder one's need converting (projects/adder_fcos/README.md).
_base_ = 'adder_fcos_r50.py'
model = dict(
    backbone=dict(
        conv_cfg=None, init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(conv_cfg=None))
