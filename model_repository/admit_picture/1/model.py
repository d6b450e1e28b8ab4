"""Adapter: image -> ticket, when there is room for one more picture in the steps that follow. The work is `Gate`."""

from ensemble.adapter import PythonStep
from ensemble.admission import Gate


class TritonPythonModel(PythonStep):
    handed_on = frozenset({"ticket"})

    def configure(self, parameters):
        self.gate = Gate(int(parameters["max_in_flight"]))

    def run(self, request):
        return {"ticket": self.gate.enter()}
