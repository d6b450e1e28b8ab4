"""Example family: maps crops to one heat map for each keypoint, and has a decoding step of its own."""

from dataclasses import dataclass

from export.families.spot_heatmaps.steps import HEATMAPS, DecodeHeatmaps

from ensemble.geometry import Size
from export import graph_edit
from export.families import Family
from export.families.top_down import read_crop_file, serve_crop_file


@dataclass(frozen=True)
class Heatmaps:
    size: Size

    def outputs(self, keypoints):
        return (HEATMAPS.sized(keypoints, self.size[1], self.size[0]),)

    @property
    def decoder(self):
        return DecodeHeatmaps()


def is_heatmaps(model):
    return [len(shape) for shape in graph_edit.shapes(model.graph.output)] == [4]


def serve(path, model, options):
    file = read_crop_file(path, model, options)
    (name,) = file.answers
    count, height, width = file.answers[name].shape
    head, outputs = Heatmaps((width, height)), {HEATMAPS.name: name}
    return serve_crop_file(file, head, count, options, outputs=outputs)


FAMILY = Family("spot_heatmaps", serve, "crops -> heat maps [batch, K, h, w]", is_heatmaps)
