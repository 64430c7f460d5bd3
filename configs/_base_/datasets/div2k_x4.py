# DIV2K and the benchmarks for x4; validation on the first of them, Set5.
_base_ = 'div2k_all_scales.py'
train_dataloader = {{_base_.x4.train_dataloader}}
val_dataloader = {{_base_.x4.val_dataloader}}
val_evaluator = {{_base_.x4.val_evaluator}}
test_dataloader = {{_base_.x4.test_dataloader}}
test_evaluator = {{_base_.x4.test_evaluator}}
x2 = x3 = x4 = multi = None  # what was not taken
