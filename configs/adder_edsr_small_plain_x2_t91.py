# What AdderSR adds, taken away: adder_edsr_small_x2_t91.py without self-shortcut and power activation.
_base_ = 'adder_edsr_small_x2_t91.py'
model = dict(generator=dict(self_shortcut=False, power_cfg=None))
