# A small VDSR x2 on T91, by the recipe of edsr_small_x2_t91.py: the base of an ablation like AdderSR's.
_base_ = 'edsr_small_x2_t91.py'
model = dict(
    data_preprocessor=dict(channels='y', std=255.),
    generator=dict(_delete_=True, type='VDSR', mid_channels=16, num_layers=8, upscale_factor=2))
