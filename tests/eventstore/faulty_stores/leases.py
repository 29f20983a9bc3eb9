"""Faults in leases."""

import threading

from refold.eventstore import MemoryStore


class GivesLeasesToAll(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(f"{name} {self._state.last_token}", holder=holder, now=now, until=until)


class HasOneLease(MemoryStore):
    def claim(self, name, **options):
        return super().claim("the lease", **options)


class FoldsTheCaseOfLeases(MemoryStore):
    def claim(self, name, **options):
        return super().claim(name.lower(), **options)


class NeverReleases(MemoryStore):
    def release(self, token):
        pass


class RefusesASecondRelease(MemoryStore):
    def release(self, token):
        if token not in [lease.token for lease in self._state.leases.values()]:
            raise KeyError(token)
        super().release(token)


class HoldsLeasesForEver(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=now, until="9999")


class HoldsLeasesAMomentLonger(MemoryStore):
    def claim(self, name, *, holder, now, until):
        return super().claim(name, holder=holder, now=now, until=f"{until} ")


class UsesTokensAgain(MemoryStore):
    def release(self, token):
        super().release(token)
        self._state.last_token = max([lease.token for lease in self._state.leases.values()], default=0)


class ReleasesByName(MemoryStore):
    def release(self, token):
        self._state.leases.clear()


class KeepsLeasesOfUndoneBatches(MemoryStore):
    def claim(self, name, **options):
        taken = super().claim(name, **options)
        if self._batch is not None:
            self._state.leases |= self._batch[1].leases
        return taken


class KeepsALeaseForEachThread(MemoryStore):
    def claim(self, name, **options):
        return super().claim(f"{name} {threading.get_ident()}", **options)


class ShowsTheFirstLease(MemoryStore):
    def claim(self, name, *, holder, now, until):
        self.first = getattr(self, "first", until)
        return super().claim(name, holder=holder, now=now, until=until)

    def lease(self, name):
        found = super().lease(name)
        return found and found._replace(until=self.first)


class ShowsLeasesThatWereGivenBack(MemoryStore):
    def lease(self, name):
        self.seen = super().lease(name) or getattr(self, "seen", None)
        return self.seen


class ShowsNoLeaseOfABatch(MemoryStore):
    def lease(self, name):
        return self._state.leases.get(name)


CAUGHT = [
    (ShowsTheFirstLease, "a_lease_can_be_looked_at"),
    (ShowsLeasesThatWereGivenBack, "a_lease_can_be_looked_at"),
    (ShowsNoLeaseOfABatch, "a_batch_sees_the_lease_it_has_taken"),
    (GivesLeasesToAll, "a_lease_that_is_held_is_given_to_nobody_else"),
    (HasOneLease, "leases_of_other_names_are_not_in_the_way"),
    (FoldsTheCaseOfLeases, "leases_of_other_names_are_not_in_the_way"),
    (NeverReleases, "a_released_lease_can_be_taken_at_once"),
    (RefusesASecondRelease, "a_released_lease_can_be_taken_at_once"),
    (HoldsLeasesForEver, "a_lease_ends_by_itself"),
    (HoldsLeasesAMomentLonger, "a_lease_ends_by_itself"),
    (UsesTokensAgain, "a_token_is_larger_than_all_before_it"),
    (ReleasesByName, "a_holder_that_came_too_late_ends_nobody_elses_lease"),
    (KeepsLeasesOfUndoneBatches, "a_lease_taken_in_a_batch_that_raises_is_not_held"),
    (KeepsALeaseForEachThread, "of_threads_that_want_one_lease_exactly_one_gets_it"),
]
"""Each store, and the test of the contract that finds its fault."""
