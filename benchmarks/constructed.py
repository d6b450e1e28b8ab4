"""A CIGPose-m network with constructed weights, which has the cost of the published one. Its answers mean nothing.

The published weights cannot be shipped here, and speed does not depend on their values. So speed is measured with this
network, and accuracy with the trained demo weights only.
"""

from pathlib import Path

NAME = "cigpose-m_coco-wholebody_256x192"


def constructed_network(folder: Path) -> Path:
    """Return the ONNX file, written on first use.

    Raises:
        ValueError: PyTorch is missing.
    """
    path = folder / f"{NAME}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path)
    return path


def _write(path: Path) -> None:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path} is built with PyTorch; run `pip install -r requirements/torch.txt`, or name your file with --pose"
        ) from error
    from export.families.cigpose.export import export_onnx
    from export.families.cigpose.network import build
    from export.families.cigpose.variants import VARIANTS
    from export.onnx_export import ExportOptions

    generator = torch.Generator().manual_seed(0)
    network = build(VARIANTS[NAME]).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.rand(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_((2 * noise - 1) * (3 / value[0].numel()) ** 0.5)
            else:  # scales and variances near 1, biases near 0: signals keep their size, and none becomes denormal
                value.copy_(0.1 * (noise - 0.5) if name.endswith(("bias", "mean", "beta")) else 0.9 + 0.2 * noise)
    export_onnx(network, path, ExportOptions(max_difference=1.0))
