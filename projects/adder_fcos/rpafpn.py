"""``RPAFPN``: the reversed path aggregation neck of Adder FCOS (arXiv 2112.13608, section 4.4).

The paper says in words: first bottom-up, then top-down, with a residual connection around every 3x3 adder layer,
because adder layers learn the identity badly and the deep maps of an adder backbone are very sparse. Its figure and
code are not available. The graph below is *inferred* as the mirror image of mmdet's PAFPN:

    L_i = lateral_i(C_i)                                 1x1
    bottom-up   N_3 = L_3,  N_i+1 = L_i+1 + D_i(N_i)     D_i: 3x3 stride 2
    inner       M_i = R_i(N_i)                           R_i: 3x3
    top-down    T_5 = M_5,  T_i = M_i + up(T_i+1)        up: nearest
    outputs     P_5 = T_5,  P_i = R'_i(T_i)
    extra       P_6 = D(P_5),  P_7 = D(relu(P_6))

With the shortcut a 3x3 layer computes x + layer(x), and a stride-2 one x[..., ::2, ::2] + layer(x): no parameters,
no multiplications.
"""

import torch.nn.functional as F
from mmdet.models.necks import PAFPN
from mmdet.registry import MODELS

ORDERS = ('bottom_up_first', 'top_down_first')


@MODELS.register_module()
class RPAFPN(PAFPN):
    """Path aggregation pyramid in either order, with or without shortcuts; parameters are named as in PAFPN.

    ``order='top_down_first', with_shortcut=False`` is mmdet's PAFPN.

    Args:
        in_channels (list[int]): channels of the backbone's stages.
        out_channels (int): channels of every level.
        num_outs (int): number of levels.
        order (str): 'bottom_up_first' (R-PAFPN) or 'top_down_first' (PAFPN).
        with_shortcut (bool): residual connection around every 3x3 layer.
        light (bool): leave out the second set of 3x3 layers (R' above), one 3x3 per level. Inferred variant: the
            paper's counts do not tell which of the two was used.
        add_extra_convs (str or bool): 'on_output' (default) or False, which pools the extra levels.
        relu_before_extra_convs (bool): ReLU before the second and later extra levels.
        conv_cfg, norm_cfg (dict, optional): layer and normalisation of every layer, laterals included; every adder
            layer needs a normalisation.
        **kwargs: see ``mmdet.models.PAFPN``.

    Shape: tuple of (N, in_channels[i], H_i, W_i) to a tuple of ``num_outs`` maps (N, out_channels, ., .).

    Raises:
        ValueError: an order or kind of extra levels that does not exist here.
    """

    def __init__(self, in_channels, out_channels, num_outs, order='bottom_up_first', with_shortcut=True, light=False,
                 add_extra_convs='on_output', relu_before_extra_convs=True, **kwargs):
        if order not in ORDERS:
            raise ValueError(f'RPAFPN: order={order!r}, expected one of {ORDERS}')
        if add_extra_convs not in ('on_output', False):
            raise ValueError(f"RPAFPN: add_extra_convs={add_extra_convs!r}, expected 'on_output' or False")
        super().__init__(in_channels, out_channels, num_outs, add_extra_convs=add_extra_convs,
                         relu_before_extra_convs=relu_before_extra_convs, **kwargs)
        self.order, self.with_shortcut, self.light = order, with_shortcut, light
        if light:
            del self.pafpn_convs

    def forward(self, inputs):
        if len(inputs) != len(self.in_channels):
            raise ValueError(f'RPAFPN: expected {len(self.in_channels)} feature maps, got {len(inputs)}')
        maps = [lateral(inputs[i + self.start_level]) for i, lateral in enumerate(self.lateral_convs)]
        first, second = self._bottom_up, self._top_down
        untouched = len(maps) - 1  # the level at which the second path starts gets no second 3x3
        if self.order == 'top_down_first':
            first, second, untouched = second, first, 0
        maps = first(maps)
        maps = second([self._residual(layer, x) for layer, x in zip(self.fpn_convs, maps, strict=False)])
        if not self.light:
            layers = iter(self.pafpn_convs)
            maps = [x if i == untouched else self._residual(next(layers), x) for i, x in enumerate(maps)]
        return tuple(self._extra_levels(maps))

    def _residual(self, layer, x):
        if not self.with_shortcut:
            return layer(x)
        stride = layer.conv.stride[0]  # 2 for the down-sampling layers: sizes agree, ceil(H / 2)
        return x[..., ::stride, ::stride] + layer(x)

    def _bottom_up(self, maps):
        out = maps[:1]
        for layer, x in zip(self.downsample_convs, maps[1:], strict=True):
            out.append(x + self._residual(layer, out[-1]))
        return out

    def _top_down(self, maps):
        out = maps[-1:]
        for x in maps[-2::-1]:
            out.insert(0, x + F.interpolate(out[0], size=x.shape[2:], mode='nearest'))
        return out

    def _extra_levels(self, maps):
        used = len(maps)
        for i in range(used, self.num_outs):
            if not self.add_extra_convs:
                maps.append(F.max_pool2d(maps[-1], 1, stride=2))
                continue
            x = F.relu(maps[-1]) if i > used and self.relu_before_extra_convs else maps[-1]
            maps.append(self._residual(self.fpn_convs[i], x))
        return maps
