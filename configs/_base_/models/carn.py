# CARN, 3 blocks of 3 units, 64 channels (arXiv 1803.08664, section 4).
model = dict(
    type='ImageRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor'),  # 0..1
    generator=dict(type='CARN', mid_channels=64),
    pixel_loss=dict(type='L1Loss'),
    test_cfg=dict(tile=None, tile_overlap=16, self_ensemble=False))
