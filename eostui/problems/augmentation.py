"""Static augmentation: fixed crops and flips of images, made when they are looked at.

Only the images are in memory, whatever the number of views. A view is a row of four whole numbers: the
image, how far down and to the right in the padded image its crop begins, and whether it is flipped.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eostui.errors import InputError
from eostui.problems.inputs import Floats, Standardiser

#: Black pixels around an image, of which crops may take a part, as is customary for CIFAR.
PADDING = 4


def drawn_views(images: int, copies: int, seed: int) -> Tensor:
    """Return rows (copies · images, 4), int64: all images in their order, then all of them once more."""
    draws = torch.Generator().manual_seed(seed)
    count = images * copies
    place = torch.randint(2 * PADDING + 1, (count, 2), generator=draws)
    flipped = torch.randint(2, (count, 1), generator=draws)
    return torch.cat([torch.arange(images).repeat(copies)[:, None], place, flipped], 1)


def whole_images(images: int, before: int) -> Tensor:
    """Return the views of images as they are, shape (images, 4); `before` of them come first."""
    rows = torch.full((images, 4), PADDING)
    rows[:, 0], rows[:, 3] = torch.arange(before, before + images), 0
    return rows


class AugmentedImages(nn.Module):
    """Views of images (views, 4) ↦ these images, cropped, flipped, then standardised: (views, C, H, W).

    Attributes:
        images: not yet standardised, shape (N, C, H, W): those to train on, then those to test on.
    """

    images: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, images: Tensor, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        for name, tensor in (("images", images), ("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def of(
        cls, source: str, train: Floats, test: Floats | None, standardise: Standardiser
    ) -> AugmentedImages:
        """Take images. Raises InputError if these inputs are none."""
        if train.ndim != 4:
            raise InputError(
                "`static_augmentation` crops and flips images, but the samples of "
                f"{source} have shape {train.shape[1:]}"
            )
        images = train if test is None else np.concatenate([train, test])
        moments = (standardise.mean, standardise.deviation)
        return cls(torch.from_numpy(images), *map(torch.from_numpy, moments))

    @property
    def shape(self) -> torch.Size:
        """Of one view."""
        return self.images.shape[1:]

    def forward(self, views: Tensor) -> Tensor:
        """Return the views, shape (views, C, H, W)."""
        image, down, right, flipped = views.unbind(1)
        _, height, width = self.shape
        rows = torch.arange(height, device=views.device)
        columns = torch.arange(width, device=views.device)
        columns = torch.where(flipped[:, None] > 0, columns.flip(0), columns)
        padded = functional.pad(self.images[image], (PADDING,) * 4)
        down = (down[:, None] + rows)[:, :, None]
        right = (right[:, None] + columns)[:, None, :]
        number = torch.arange(len(views), device=views.device)[:, None, None]
        cropped = padded[number, :, down, right].permute(0, 3, 1, 2)
        return (cropped - self.mean) / self.deviation
