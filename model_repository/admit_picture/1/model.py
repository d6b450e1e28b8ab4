"""Adapter: image -> place, unless the pipeline and the queue before it are full. The work is `Gate`."""

from ensemble.adapter import PythonStep
from ensemble.admission import FULL
from ensemble.gate import Gate


class TritonPythonModel(PythonStep):
    turns_away = (FULL,)

    def configure(self, parameters):
        self.gate = Gate(int(parameters["max_in_flight"]), int(parameters["max_waiting"]))

    def run(self, request):
        return {"place": self.gate.enter()}
