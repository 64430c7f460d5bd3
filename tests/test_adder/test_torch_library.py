"""The operators as torch's compilers see them: one node, known shapes, gradients; models with them can be exported."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from projects.adder import Adder2d
from projects.adder.quantization import calibrate, quantize


def net():
    torch.manual_seed(0)
    return nn.Sequential(Adder2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Adder2d(8, 4, 1))


@pytest.mark.parametrize('rule, eta', [('hardtanh', 0.2), ('sign', None)])
def test_operator_is_registered_in_full(rule, eta):
    """torch's own check of an operator: schema, fake implementation with symbolic shapes, autograd."""
    x, w = torch.randn(2, 3, 9, 8, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    torch.library.opcheck(torch.ops.mmdownstream.adder2d.default,
                          (x, w, (2, 1), (1, 0), (1, 2), rule == 'sign', eta, 'auto'))
    g = torch.randn(2, 4, 5, 4)
    torch.library.opcheck(torch.ops.mmdownstream.adder2d_grad_input.default,
                          (g, x.detach(), w.detach(), (2, 1), (1, 0), (1, 2), rule == 'sign', 'auto'))


def test_compiled_model_trains_alike():
    """No graph breaks, same output and gradients. The compiler's graph is run as it is: no C++ compiler is needed."""
    eager, compiled = net(), net()
    run = torch.compile(compiled, fullgraph=True, backend='aot_eager')
    x = torch.randn(2, 3, 16, 12)
    for model, forward in ((eager, eager), (compiled, run)):
        forward(x).square().mean().backward()
        model.zero_grad()
        forward(x).square().mean().backward()
    for a, b in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@torch.no_grad()
def test_exported_model_keeps_one_node_a_layer():
    model = net().eval()
    shapes = ({0: Dim('n', max=64), 2: Dim('h', min=8, max=512), 3: Dim('w', min=8, max=512)},)
    program = torch.export.export(model, (torch.randn(2, 3, 16, 16),), dynamic_shapes=shapes)
    nodes = [node for node in program.graph.nodes if node.target == torch.ops.mmdownstream.adder2d.default]
    assert len(nodes) == 2
    x = torch.randn(3, 3, 20, 13)
    torch.testing.assert_close(program.module()(x), model(x))


@torch.no_grad()
def test_integer_model_is_compiled_and_exported():
    model, x = net().eval(), torch.randn(2, 3, 16, 16)
    with calibrate(model) as ranges:
        model(x)
    quantize(model, ranges, 'grouped', num_scales=2)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend='aot_eager')(x), expected)
    program = torch.export.export(model, (x,))
    assert torch.ops.mmdownstream.quant_adder2d.default in {node.target for node in program.graph.nodes}
    torch.testing.assert_close(program.module()(x), expected)


def test_second_derivatives_are_refused():
    """The gradient is a rule, not a derivative: differentiating it again would mean nothing."""
    x = torch.randn(1, 3, 6, 6, requires_grad=True)
    [gradient] = torch.autograd.grad(net()(x.expand(2, -1, -1, -1)).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='no autograd formula'):
        gradient.sum().backward()
