"""What every reference script needs first: one thread, and a torchvision that imports without its compiled operators.

Import this before transformers. (torchvision's wheel may be linked to CUDA; only `nms` and `qnms` are looked up at
import, resizing works without them.)
"""
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    try:
        _library.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a torchvision that brought them itself

torch.set_num_threads(1)
torch.set_grad_enabled(False)
