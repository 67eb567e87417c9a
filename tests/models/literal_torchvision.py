"""What torchvision's `v2.functional` computes for uint8 images on the CPU, restated from its source (0.26).

Put in place of `tvF`, it lets transformers' own torchvision-based processors run where torchvision cannot be installed.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch.nn import functional


class InterpolationMode(Enum):
    """The filters, by the names that torch has for them."""

    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


# `pil_torch_interpolation_mapping` of transformers' `image_utils`, as far as torch has the filters.
FILTERS = {0: InterpolationMode.NEAREST_EXACT, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}


def resize(image, size, interpolation, antialias):
    """`resize_image`: uint8 goes in natively, but where the processor lacks what makes bilinear fast."""
    smooth = interpolation in {InterpolationMode.BILINEAR, InterpolationMode.BICUBIC}
    native = interpolation != InterpolationMode.BILINEAR or torch.backends.cpu.get_cpu_capability() in {
        "AVX2",
        "AVX512",
    }
    *batch, channels, height, width = image.shape
    if (height, width) == tuple(size):
        return image
    found = image.reshape(-1, channels, height, width)
    found = functional.interpolate(
        found if native else found.to(torch.float32),
        size=list(size),
        mode=interpolation.value,
        align_corners=False if smooth else None,
        antialias=antialias and smooth,
    )
    if not native:
        found = found.round_().to(torch.uint8)
    return found.reshape(*batch, channels, *size)


def pad(image, padding, fill):
    """`pad_image` with a constant: left, top, right, bottom."""
    left, top, right, bottom = padding
    return functional.pad(image, [left, right, top, bottom], mode="constant", value=fill)


def crop(image, top, left, height, width):
    """`crop_image`, of a box that lies inside the image."""
    assert 0 <= top <= image.shape[-2] - height
    assert 0 <= left <= image.shape[-1] - width
    return image[..., top : top + height, left : left + width]


def normalize(image, mean, std, inplace=False):  # as it is called
    """`normalize_image`."""
    mean, std = (torch.as_tensor(each, dtype=image.dtype) for each in (mean, std))
    mean, std = (each.view(-1, 1, 1) if each.ndim == 1 else each for each in (mean, std))
    image = image.sub_(mean) if inplace else image.sub(mean)
    return image.div_(std)


def grayscale_to_rgb(image):
    """`grayscale_to_rgb`, of an image that has its three channels."""
    assert image.shape[-3] == 3
    return image
