"""Counts multiplications, additions, parameters, memory and energy of a model; registers nothing."""

from .cost import ENERGIES, Cost, Energy, ModuleCost, get_cost, mean_cost
from .operators import LAYERS, OPERATORS, counts, multiply_adds

__all__ = ['ENERGIES', 'LAYERS', 'OPERATORS', 'Cost', 'Energy', 'ModuleCost', 'counts', 'get_cost', 'mean_cost',
           'multiply_adds']
