# IMDN, 6 blocks of 64 channels (arXiv 1909.11856, section 4.2).
model = dict(
    type='ImageRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor'),  # 0..1
    generator=dict(type='IMDN', mid_channels=64, num_blocks=6),
    pixel_loss=dict(type='L1Loss'),
    # its attention looks at the whole image: tiles give other values than the whole
    test_cfg=dict(tile=None, tile_overlap=16, self_ensemble=False))
