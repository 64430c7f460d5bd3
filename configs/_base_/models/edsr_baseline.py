# EDSR-baseline, 16 blocks of 64 channels (arXiv 1707.02921, table 1).
model = dict(
    type='ImageRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor', std=1.),  # the network takes 0..255, as the public code
    generator=dict(type='EDSR', mid_channels=64, num_blocks=16, res_scale=1.),
    pixel_loss=dict(type='L1Loss'),
    # memory too small for whole images: --cfg-options model.test_cfg.tile=256; "+" behind the name of a method:
    # --cfg-options model.test_cfg.self_ensemble=True
    test_cfg=dict(tile=None, tile_overlap=16, self_ensemble=False))
