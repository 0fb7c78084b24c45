"""How a fixed camera's picture lies against its reference: followed from look to look, searched for after a knock."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Luma = NDArray[np.uint8]  # (h, w)
Field = NDArray[np.float32]  # (h, w)
Spectrum = NDArray[np.complex64]  # (h, w // 2 + 1)
Matrix = NDArray[np.float64]  # (2, 3): takes pixels of the reference to those of the picture

TURNS = tuple(float(turn) for turn in range(-6, 7))  # degrees: tilts that are searched for
SMOOTH = 2.0  # pixels: of the phase correlation, for a motion falls between pixels and tilts
LIKELY = 3  # tilts that are tried to the exact place
STEPS = 5  # to the exact place after a search
FURTHEST = 1.0  # pixels: of one step
NOTHING = 0.05  # pixels: not worth laying a picture anew
OUTLIER = 25  # grey levels: a difference that no small motion makes


def still() -> Matrix:
    """No motion."""
    return np.eye(2, 3)


def gradients(picture: Luma) -> tuple[Field, Field]:
    """Sobel gradients (h, w) along x and y: 8 times grey levels per pixel."""
    x, y = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def warped(picture: Luma, matrix: Matrix) -> Luma:
    """The picture laid over the reference; beyond its border it goes on as it ends."""
    size = picture.shape[1], picture.shape[0]
    if np.abs((matrix - still()) @ (*size, 1.0)).max() < NOTHING and np.abs(matrix[:, 2]).max() < NOTHING:
        return picture
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def shrunk(picture: Luma, times: int) -> Luma:
    """The picture so many times smaller."""
    height, width = picture.shape
    return np.asarray(cv2.resize(picture, (width // times, height // times), interpolation=cv2.INTER_AREA), np.uint8)


class Follower:
    """Finds a reference in pictures."""

    def __init__(self, picture: Luma, stable: Field) -> None:
        self._part = picture[::2, ::2].astype(np.float32)
        self._level = np.float32(max(float(np.median(picture[::4, ::4])), 1.0))
        small = shrunk(picture, 2)
        self._size = small.shape[1], small.shape[0]
        self._window = np.asarray(cv2.createHanningWindow(self._size, cv2.CV_32F), np.float32)
        along, down = fft.rfftfreq(self._size[0]), fft.fftfreq(self._size[1])
        smooth = np.exp(-2 * (np.pi * SMOOTH) ** 2 * (along[None] ** 2 + down[:, None] ** 2))
        turned = [warped(small, self._turned(turn)) for turn in TURNS]
        self._spectra = [np.asarray(np.conj(self._spectrum(it)) * smooth, np.complex64) for it in turned]
        self._stable = stable[::2, ::2] > 0
        self._slopes = _slopes(picture, stable)
        self._inverse = np.linalg.pinv((self._slopes @ self._slopes.T).astype(np.float64))

    def search(self, luma: Luma) -> list[Matrix]:
        """The most likely motions of a picture, whatever it shows.

        Phase correlation (Kuglin and Hines, 1975) with the reference at each tilt, then steps to the exact place.
        """
        spectrum = self._spectrum(shrunk(luma, 2))
        peaks = [self._peak(spectrum, reference) for reference in self._spectra]
        best = sorted(range(len(TURNS)), key=lambda i: -peaks[i][0])[:LIKELY]
        return [self._exact(luma, TURNS[i], peaks[i][1]) for i in best]

    def _exact(self, luma: Luma, turn: float, place: NDArray[np.float64]) -> Matrix:
        matrix = np.asarray(cv2.invertAffineTransform(self._turned(turn)), np.float64)
        matrix[:, 2] = (matrix[:, 2] + place) * 2
        for _ in range(STEPS):
            matrix = self.step(matrix, warped(luma, matrix))
        return matrix

    def step(self, matrix: Matrix, laid: Luma) -> Matrix:
        """The motion after one step of least squares in shift and turn (Lucas and Kanade, 1981).

        Args:
            matrix: the motion so far.
            laid: the picture under it.
        """
        part = laid[::2, ::2].astype(np.float32)
        gain = np.float32(np.median(laid[::4, ::4])) / self._level
        change = part - gain * self._part
        change[(np.abs(change) > OUTLIER) | ~self._stable] = 0
        right, down, turn = self._inverse @ (self._slopes @ change.ravel()).astype(np.float64)
        far = max(float(np.hypot(right, down)), abs(turn) * laid.shape[1] / 2, FURTHEST) / FURTHEST
        height, width = laid.shape
        back = -np.array([right, down, turn]) / far
        about = np.array([[1, -back[2], back[2] * height / 2 + back[0]], [back[2], 1, -back[2] * width / 2 + back[1]]])
        return np.asarray(matrix @ np.vstack([about, [0, 0, 1]]), np.float64)

    def _turned(self, degrees: float) -> Matrix:
        """Takes pixels of the half-sized turned picture to those of the straight one."""
        width, height = self._size
        return np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0), np.float64)

    def _spectrum(self, small: Luma) -> Spectrum:
        """The phases alone."""
        centred = (small.astype(np.float32) - np.float32(small.mean())) * self._window
        spectrum = np.asarray(fft.rfft2(centred), np.complex64)  # a twentieth of the time of OpenCV's
        return np.asarray(spectrum / np.maximum(np.abs(spectrum), 1e-3), np.complex64)

    def _peak(self, spectrum: Spectrum, reference: Spectrum) -> tuple[float, NDArray[np.float64]]:
        """Height and place of the correlation's peak, half-sized pixels."""
        surface = np.asarray(fft.irfft2(spectrum * reference, s=self._size[::-1]), np.float32)
        _, height, _, place = cv2.minMaxLoc(surface)
        wrapped = [at - side if at > side / 2 else at for at, side in zip(place, self._size, strict=True)]
        return float(height), np.array(wrapped, np.float64)


def _slopes(picture: Luma, stable: Field) -> Field:
    """What a shift along x and y by a pixel and a turn by a radian change in every second pixel (3, n)."""
    height, width = picture.shape
    x, y = (part[::2, ::2] * stable[::2, ::2] / 8 for part in gradients(picture))
    down, right = np.arange(0, height, 2)[:, None] - height / 2, np.arange(0, width, 2)[None] - width / 2
    return np.asarray(np.stack([x, y, y * right - x * down]).reshape(3, -1), np.float32)
