# DIV2K and the benchmarks for x2, x3 and x4 together; validation on Set5.
_base_ = 'div2k_all_scales.py'
train_dataloader = {{_base_.multi.train_dataloader}}
val_dataloader = {{_base_.multi.val_dataloader}}
val_evaluator = {{_base_.multi.val_evaluator}}
test_dataloader = {{_base_.multi.test_dataloader}}
test_evaluator = {{_base_.multi.test_evaluator}}
x2 = x3 = x4 = multi = None  # what was not taken
