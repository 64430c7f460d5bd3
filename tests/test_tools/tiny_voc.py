"""The tiny detector on a PASCAL VOC devkit of two years, laid out like mmdet's `voc0712.py`."""

_base_ = 'tiny_fcos.py'
data_root = '{{$MMDOWNSTREAM_DATA:data}}/VOCdevkit/'
year = dict(
    type='CheckedVOCDataset', data_root=data_root, pipeline={{_base_.train_pipeline}},
    filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=4))
train_dataloader = dict(dataset=dict(
    _delete_=True, type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', ignore_keys=['dataset_type'], datasets=[
            dict(ann_file='VOC2007/ImageSets/Main/trainval.txt',
                 data_prefix=dict(sub_data_root='VOC2007/'), **year),
            dict(ann_file='VOC2012/ImageSets/Main/trainval.txt',
                 data_prefix=dict(sub_data_root='VOC2012/'), **year)])))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='CheckedVOCDataset', data_root=data_root,
    ann_file='VOC2007/ImageSets/Main/test.txt', data_prefix=dict(sub_data_root='VOC2007/'),
    test_mode=True, pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator
