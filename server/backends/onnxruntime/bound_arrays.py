"""Arrays that an ONNX Runtime session on the CPU reads and writes in place, so that it neither allocates nor copies."""

import numpy as np

_DTYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class BoundArrays:
    """Inputs and outputs of a session whose sizes follow from the number of rows.

    They are bound once for each number of rows, to the beginnings of the same arrays.
    """

    def __init__(self, session):
        self._session, self._rows = session, 0
        self._arrays, self._bound = {}, {}

    @staticmethod
    def fit(session):
        """Return whether the first dimension of every input and output is the number of rows, and no other is free."""
        values = [*session.get_inputs(), *session.get_outputs()]
        first = {dim for value in values for dim in value.shape[:1]}
        others = [dim for value in values for dim in value.shape[1:]]
        known = all(value.type in _DTYPES and value.shape for value in values)
        return known and len(first) == 1 and isinstance(min(first), str) and all(isinstance(dim, int) for dim in others)

    def run(self, parts):
        """Run the session on the parts of each input, joined. The results by name are valid until the next run."""
        rows = sum(map(len, next(iter(parts.values()))))
        if rows not in self._bound:
            self._bind(rows)
        binding, arrays = self._bound[rows]
        for name, given in parts.items():
            np.concatenate(given, out=arrays[name])
        self._session.run_with_iobinding(binding)
        return arrays

    def _bind(self, rows):
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if rows > self._rows:
            self._rows, self._bound = rows, {}  # the present ones are bound to smaller arrays
            self._arrays = {v.name: np.empty((rows, *v.shape[1:]), _DTYPES[v.type]) for v in (*inputs, *outputs)}
        arrays, binding = {name: array[:rows] for name, array in self._arrays.items()}, self._session.io_binding()
        for bind, values in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for value in values:
                array = arrays[value.name]
                bind(value.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._bound[rows] = binding, arrays
