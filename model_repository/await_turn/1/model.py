"""Adapter: place -> ticket, when the picture's turn comes. The work is `take_turn`."""

from ensemble.adapter import PythonStep
from ensemble.admission import EXPIRED, take_turn


class TritonPythonModel(PythonStep):
    turns_away = (EXPIRED,)

    def configure(self, parameters):
        self.max_wait_s = float(parameters["max_wait_s"])

    def run(self, request):
        place = request.tensors["place"]
        take_turn(place, min(self.max_wait_s, request.timeout_s))
        return {"ticket": place}
