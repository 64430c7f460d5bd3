# Adder backbone only (B): the neck is FCOS's convolutional FPN. 37.2 AP in arXiv 2112.13608, table 5.
_base_ = 'adder_fcos_r50.py'
model = dict(
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[512, 1024, 2048],
        out_channels=256,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True))
