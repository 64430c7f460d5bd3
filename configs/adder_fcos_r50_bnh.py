# Backbone, neck and head towers of adder layers (B+N+H); the predictors stay convolutions. The paper found that this
# costs FCOS much AP and prints no figure (arXiv 2112.13608, section 5).
_base_ = 'adder_fcos_r50.py'
model = dict(
    bbox_head=dict(
        conv_cfg=dict(type='Adder2d', grad_input='sign'),
        conv_bias=False,  # the normalisation that follows removes it
        norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)))
# one layer serves five levels: scale its summed gradient once, not five times
optim_wrapper = dict(paramwise_cfg=dict(adder_adaptive_lr='optimizer'))
