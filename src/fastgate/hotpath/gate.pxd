# What gate.py reads and writes in C of its companions; its own classes stand in gate.py.

from fastgate.domain.decision cimport Decision
from fastgate.domain.request cimport RequestHead
from fastgate.hotpath.facts cimport Facts
from fastgate.hotpath.failures cimport Failures
from fastgate.hotpath.plan cimport Plan, Table
