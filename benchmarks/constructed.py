"""Networks with constructed weights, which have the cost of the published ones. Their answers mean nothing.

The published weights cannot be shipped here, and speed does not depend on their values. So speed is measured with these
networks, and accuracy with the trained demo weights only.
"""

import importlib
from pathlib import Path

NAME = "cigpose-m_coco-wholebody_256x192"
GRAPH_PCNN = "graphpcnn_resnet_50_256x192"
LOGOCAP = "logocap-hrnet-w32-coco"
LIFTER = "capf_hrnet_32"
_FAMILIES = {
    NAME: ("cigpose", "build"),
    GRAPH_PCNN: ("graph_pcnn", "new"),
    LOGOCAP: ("logocap", "build"),
    LIFTER: ("poseformer", "build"),
}


def constructed_network(folder: Path, name: str = NAME) -> Path:
    """Return the ONNX file of one of these networks, written on first use.

    Raises:
        ValueError: PyTorch is missing.
    """
    path = folder / f"{name}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(name, path)
    return path


def _write(name: str, path: Path) -> None:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path} is built with PyTorch; run `pip install -r requirements/torch.txt`, or name your file with --pose"
        ) from error
    from export.onnx_export import ExportOptions

    folder, make = _FAMILIES[name]
    export, networks, variants = (
        importlib.import_module(f"export.families.{folder}.{module}") for module in ("export", "network", "variants")
    )
    generator = torch.Generator().manual_seed(0)
    network = getattr(networks, make)(variants.VARIANTS[name]).eval()
    with torch.no_grad():
        for entry, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.rand(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_((2 * noise - 1) * (3 / value[0].numel()) ** 0.5)
            else:  # scales and variances near 1, biases near 0: signals keep their size, and none becomes denormal
                value.copy_(0.1 * (noise - 0.5) if entry.endswith(("bias", "mean", "beta")) else 0.9 + 0.2 * noise)
    export.export_onnx(network, path, ExportOptions(max_difference=1.0))
