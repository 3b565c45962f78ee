# What gate.py reads in C of its three companions; its own classes stand in gate.py.

from fastgate.hotpath.facts cimport Facts, FactsMaker
from fastgate.hotpath.plan cimport Plan, Table
from fastgate.hotpath.token_rules cimport TokenRules
