# CARN-M: grouped convolutions, one unit for all three places of a block (arXiv 1803.08664, section 3.3, G4R).
_base_ = 'carn.py'
model = dict(generator=dict(groups=4))
