# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the compiled lane of one worker holds: plans of routes, pools, tables and its buffer.

Owns:      the pools of upstream connections, and what of a snapshot is laid out as C fields.
Called by: http1_request and http1, on each plain request; nothing here waits.
"""

cimport cython

from fastgate._ext.counters cimport Served
from fastgate._ext.http1_build cimport Names, Out, RequestIds
from fastgate._ext.http1_bytes cimport now_s
from fastgate._ext.http1_front cimport Acceptor
from fastgate._ext.http1_upstream cimport Pool

# Reason: as many plans as a large configuration has routes and regions; more: begin anew.
cdef Py_ssize_t MAX_PLANS = 4096


@cython.final
cdef class Plan:
    """What the lane needs of one route in one region, as C fields."""

    def __cinit__(self, route, int region, snapshot):
        self.route = route
        self.addresses = route.service.upstreams[region]
        # The general lane explains, limits and times whole exchanges.
        self.takes = not (
            route.debug or route.total_timeout_s or route.session_events or route.tap
            or not self.addresses)
        self.limited = route.body_limit_bytes > 0
        self.own_credentials = route.issuer is None
        self.connect_s = route.connect_timeout_s
        self.first_byte_s = route.upstream_timeout_s
        self.idle_s = route.idle_timeout_s
        self.every_ns = route.max_staleness_ns
        self.connections = snapshot.limits.upstream_connections
        self.index = route.index

    cdef int count_by(self, tally) except -1:
        """Count under another tally from now on."""
        self.tally = tally
        self.in_flight = tally.in_flight[self.index]
        self.served = None
        return 0

    cdef Served served_like(self, decision, str method, int status):
        """Return what counts a request; most are like the one before."""
        kind, cache, source = decision.kind, decision.cache, decision.source
        # By identity: each is one of few objects, and another only costs a look-up.
        if (self.served is None or self.status != status or self.method is not method
                or self.kind is not kind or self.cache is not cache
                or self.source is not source):
            self.served = self.tally.served(decision, method, status)
            self.status, self.method = status, method
            self.kind, self.cache, self.source = kind, cache, source
            self.form = None
        return self.served

    cdef bytes form_like(self, desk, snapshot, decision, str method, int status):
        """Return what the access lines of such requests share; after `served_like`."""
        facts = decision.facts
        kid = None if facts is None else facts.kid
        if self.form is None or self.form_kid is not kid:
            self.form = desk.form(snapshot, decision, method, status)
            self.form_kid = kid
        return self.form


cdef class PlainLane(Acceptor):
    """See http1.pyi: Lane."""

    def __init__(self, loop, lane, cell, desk):
        Acceptor.__init__(self, loop, lane, cell)
        self.desk = desk
        self.decide = desk.decide
        self.boot_ns = desk.boot_ns
        self.wall_s = desk.wall_s
        self.choose = desk.choose
        self.succeeded = desk.succeeded
        self.counting = desk.counting
        self.plain_head = desk.plain_head
        self.allow = desk.allow
        self.deny = desk.deny
        self.status_lines = desk.status_lines
        self.from_client = Names(desk.request_names, desk.reserved_prefixes)
        self.from_upstream = Names(desk.answer_names, desk.reserved_prefixes)
        self.out = Out()
        self.ids = RequestIds()
        self.pools = {}
        self.plans = {}

    cdef Plan plan_of(self, snapshot, route, int region):
        if self.planned is not snapshot or len(self.plans) > MAX_PLANS:
            self.plans.clear()
            self.planned = snapshot
        plan = self.plans.get((route, region))
        if plan is None:
            plan = self.plans[route, region] = Plan(route, region, snapshot)
        return plan

    cdef Pool pool_of(self, str base):
        pool = self.pools.get(base)
        if pool is None:
            pool = self.pools[base] = Pool(base, self.desk.connections, self.buffer)
        return pool

    def sweep(self):
        """End what waited too long, client or upstream."""
        cdef Pool pool
        cdef double now = now_s()
        for base, pool in list(self.pools.items()):
            pool.expire(now)
            if not pool.open and not pool.dialing:
                del self.pools[base]
        Acceptor.sweep(self)
        if self.pools and self.timer is None:
            self.arm()

    def forget(self, front):
        """Let a connection go; the timer stays while upstream connections rest."""
        self.fronts.discard(front)
        if not self.fronts and not self.pools:
            Acceptor.close(self)

    def close(self):
        """Drop the upstream connections that rest, when the worker ends."""
        cdef Pool pool
        for pool in self.pools.values():
            pool.close()
        self.pools.clear()
        Acceptor.close(self)
