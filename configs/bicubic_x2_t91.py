# Bicubic interpolation on the test sets of edsr_small_x2_t91.py. It has no weights: give `none` as its checkpoint.
_base_ = 'edsr_small_x2_t91.py'
model = dict(generator=dict(_delete_=True, type='Bicubic', upscale_factor=2))
