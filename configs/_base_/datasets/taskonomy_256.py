# Taskonomy's sample model, 1,000 scenes to train on and 500 to validate, at 256 x 256 (official code of TokenFusion,
# arXiv 2204.08721; the lists are those of CEN). Experiment files set `inputs` and `target`.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/taskonomy/'
dataset = dict(type='TaskonomyDataset', data_root=data_root, inputs=['reshading', 'edge_texture'], target='rgb')
test_pipeline = [
    dict(type='LoadTaskonomyImages'),
    dict(type='TaskonomyResize', size=256, keep_ratio=True),
    dict(type='PackTranslationInputs')
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        dataset,
        ann_file='train_domain.txt',
        pipeline=[
            dict(type='LoadTaskonomyImages'),
            dict(type='TaskonomyResize', size=286),
            dict(type='TaskonomyRandomCrop', size=256),
            dict(type='TaskonomyFlip', prob=0.5),
            dict(type='PackTranslationInputs')
        ]))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, ann_file='val_domain.txt', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
