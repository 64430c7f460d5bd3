# The mini set's rooms in Taskonomy's layout, 64 x 64: 160 to train on, 48 to validate
# (tools/dataset_converters/make_mini_rgbd.py).
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini/rgbd/taskonomy/'
dataset = dict(type='TaskonomyDataset', data_root=data_root, inputs=['reshading', 'edge_texture'], target='rgb')
test_pipeline = [dict(type='LoadTaskonomyImages', use_cache=True), dict(type='PackTranslationInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        dataset,
        ann_file='train_domain.txt',
        pipeline=[
            dict(type='LoadTaskonomyImages', use_cache=True),
            dict(type='TaskonomyResize', size=72),
            dict(type='TaskonomyRandomCrop', size=64),
            dict(type='TaskonomyFlip', prob=0.5),
            dict(type='PackTranslationInputs')
        ]))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, ann_file='val_domain.txt', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
