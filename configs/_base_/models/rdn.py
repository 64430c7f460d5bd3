# RDN, D=16 blocks of C=8 layers with growth G=64 (arXiv 1802.08797, section 5.1).
model = dict(
    type='ImageRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor'),  # 0..1
    generator=dict(type='RDN', mid_channels=64, num_blocks=16, num_layers=8, channel_growth=64),
    pixel_loss=dict(type='L1Loss'),
    test_cfg=dict(tile=None, tile_overlap=16, self_ensemble=False))
