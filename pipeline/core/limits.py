"""What size a picture may have, of a file or of a video."""

from pipeline.core.params import UsableParams


def size_defect(width: int, height: int, limits: UsableParams) -> str:
    """Why a picture of this size in pixels cannot be used; "" where it can."""
    size = f"{width} x {height} pixels"
    if min(width, height) < limits.min_side:
        return f"too small: {size}, a side is below {limits.min_side}"
    if max(width, height) > limits.max_side:
        return f"too large: {size}, a side is above {limits.max_side}"
    if width * height > limits.max_megapixels * 1e6:
        return f"too large: {size}, more than {limits.max_megapixels:g} megapixels"
    return ""
