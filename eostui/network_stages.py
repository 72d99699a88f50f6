"""Networks of the papers by their names, as far as their sizes go. No torch.

Stages are (channels, layers): 3×3 convolutions of a VGG, which pools after each stage; blocks of a
ResNet, each stage of which but the first begins with half the image. INST's are VGG10, VGG19 and
ResNet20, WHY's VGG16 (configuration D) and the others.
"""

from __future__ import annotations

Stages = tuple[tuple[int, int], ...]

_RESNET18: Stages = ((64, 2), (128, 2), (256, 2), (512, 2))

STAGES: dict[str, Stages] = {
    "vgg10": ((8, 3), (16, 3), (32, 3)),
    "vgg16": ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    "vgg19": ((16, 6), (32, 6), (64, 6)),
    "resnet20": ((16, 3), (32, 3), (64, 3)),
    "preact-resnet18": _RESNET18,
    "preact-resnet34": ((64, 3), (128, 4), (256, 6), (512, 3)),
    "scale-invariant-resnet18": _RESNET18,
}
#: Those of them that nothing is normalised in.
WITHOUT_BATCH_NORM = ("vgg16",)
