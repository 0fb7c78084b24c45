"""What every layer shares: types, parameters, errors, boxes, metrics. No torch, no OpenCV, no files of images."""
