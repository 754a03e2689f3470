"""Image preprocessing: the same function in data sets, evaluation and nodes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ObservationError
from glam_core.spec import ImageSpec


def prepare_image(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """Crops the centre to the aspect ratio of the spec, then resizes by area.

    Args:
        image: `(h, w, 3) uint8 RGB`.
        spec: The size that the model sees.

    Returns:
        `(spec.height, spec.width, 3) uint8 RGB`; the image itself where the size is right already.

    Raises:
        ObservationError: The image has another type or shape; the message names the camera.
    """
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ObservationError(
            f"camera '{spec.name}' gave {array.dtype} {array.shape}; expected uint8 (height, width, 3) RGB"
        )
    height, width = array.shape[:2]
    if (height, width) == (spec.height, spec.width):
        return array
    crop_height = max(1, min(height, round(width * spec.height / spec.width)))
    crop_width = max(1, min(width, round(height * spec.width / spec.height)))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    cropped = array[top : top + crop_height, left : left + crop_width]
    return np.asarray(cv2.resize(cropped, (spec.width, spec.height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
