"""How many Events of the same reason an object may have: what flaps is told, and does not fill the cluster."""

from __future__ import annotations

from collections import OrderedDict

from cairn.clients.clock import Clock

AT_ONCE = 10
SECONDS_FOR_ONE = 60.0
"""How long until another one may come. Schedules start a run each minute at most."""
MOST_KNOWN = 4096
"""Objects and reasons that are remembered; whose last Event is longest ago is forgotten first."""

Subject = tuple[str, str]
"""UID of an object, and a reason."""


class EventAllowance:
    """A bucket of Events for each object and reason, that time fills again, as the one that Kubernetes' own controllers have.

    https://github.com/kubernetes/client-go/blob/v0.34.0/tools/record/events_cache.go (EventSourceObjectSpamFilter)
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[Subject, tuple[float, float]] = OrderedDict()
        """How many, and when that was, on the monotonic clock."""

    def take(self, uid: str, reason: str) -> bool:
        """Return whether there may be another Event, which is taken off then."""
        now = self._clock.monotonic()
        left, since = self._left.pop((uid, reason), (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - since) / SECONDS_FOR_ONE)
        allowed = left >= 1
        self._left[uid, reason] = (left - 1 if allowed else left), now
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return allowed
