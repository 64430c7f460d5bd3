# IPT with the six tasks of its pre-training (arXiv 2012.00364); fine-tuning configs name the one they keep.
model = dict(
    type='IPTRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor', std=1.),  # the network takes 0..255
    # in the order of the released multi-task training
    generator=dict(type='IPT', tasks=['sr_x2', 'sr_x3', 'sr_x4', 'derain', 'denoise_s30', 'denoise_s50']),
    pixel_loss=dict(type='L1Loss'),
    # rules of the windows that an image is tested in: 'ipt_pt' made the published numbers, 'ipt_ms' takes about a ninth
    # of its time; "+" behind the name of a method: --cfg-options model.test_cfg.self_ensemble=True
    test_cfg=dict(tiling='ipt_pt', window_batch_size=64, self_ensemble=False))
