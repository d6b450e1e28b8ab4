"""The two steps before every pipeline: one counts requests, the other holds admitted ones until their turn."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import IMAGE, Tensor
from ensemble.triton.admission.gate import Gate
from ensemble.triton.admission.overload import Bounds
from ensemble.triton.admission.tickets import EXPIRED, FULL, take_turn

PLACE = Tensor("place", "INT64", (2,), "the ticket of an admitted request that waits for its turn")
TICKET = Tensor("ticket", "INT64", (2,), "the ticket of a request that is worked on: the gate's key and a number")


@dataclass(frozen=True)
class AdmitPicture(Step):
    """Encoded picture -> a place in the queue; an overloaded server rejects here, before it has done any work.

    Attributes:
        min_in_flight: lower bound of the pictures in work, which the gate adapts. With 3, two CPU sessions are
            busy while another picture is decoded and cropped. Decision 22 has the measured throughput.
        max_in_flight: most pictures in work. With three people each, 16 hold 48 crops: enough for two CPU sessions
            that take 4 at a time. More would queue beyond the point where they can still be rejected.
        max_waiting: most pictures in the queue; the next one is rejected. With 64, up to 64 concurrent callers are
            never rejected. An overloaded gate queues fewer (`Overload`). A queue of the largest pictures holds
            64 x 32 MB = 2 GB.
    """

    name: str = "admit_picture"
    min_in_flight: int = 3
    max_in_flight: int = 16
    max_waiting: int = 64

    turns_away: ClassVar[tuple[str, ...]] = (FULL,)
    inputs = (IMAGE,)
    outputs = (PLACE,)

    def run(self, request: Request) -> Arrays:
        """Return a ticket.

        Raises:
            TurnedAway: the pipeline and its queue are full.
        """
        return {"place": self._gate.enter()}

    @cached_property
    def _gate(self) -> Gate:
        return Gate(Bounds(self.min_in_flight, self.max_in_flight, self.max_waiting))


@dataclass(frozen=True)
class AwaitTurn(Step):
    """Place in the queue -> the ticket for the following steps, as soon as there is room.

    This is a separate step because a step learns only of callers that hung up before the step's own request was made.

    Attributes:
        max_wait_s: longest wait in the queue; equals our client's default deadline. A request's own `timeout`
            shortens it.
    """

    name: str = "await_turn"
    max_wait_s: float = 30

    turns_away: ClassVar[tuple[str, ...]] = (EXPIRED,)
    inputs = (PLACE,)
    outputs = (TICKET,)

    def run(self, request: Request) -> Arrays:
        """Wait for the turn.

        Raises:
            TurnedAway: the turn did not come in time.
        """
        place = request.tensors["place"]
        take_turn(place, min(self.max_wait_s, request.timeout_s))
        return {"ticket": place}
