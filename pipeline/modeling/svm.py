"""Linear support-vector machines, and chances from their margins."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor


def linear_svm(features: Tensor, positive: Tensor, c: float) -> tuple[Tensor, Tensor]:
    """The minimum of |w|^2 / 2 + b^2 / 2 + c * sum of squared hinges, liblinear's L2-regularised L2-loss SVM.

    Args:
        features: (N, D) float32.
        positive: (N,) bool.
        c: what a window on the wrong side costs.

    Returns:
        weights (D,) and bias (), float32.
    """
    sign = torch.where(positive, 1.0, -1.0)

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = torch.from_numpy(values.astype(np.float32))
        short = (1 - sign * (features @ w[:-1] + w[-1])).clamp_min(0)
        pull = -2 * c * sign * short
        gradient = torch.cat([features.T @ pull, pull.sum()[None]]).double().numpy() + values
        return float(values @ values / 2 + c * short.double().square().sum()), gradient

    found = minimize(
        objective, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 100}
    ).x
    w = torch.from_numpy(found).float()
    return w[:-1], w[-1]


def platt(margins: Tensor, positive: Tensor) -> tuple[float, float]:
    """Slope and offset of the chance sigmoid(slope * margin + offset) (Platt, 1999; with his targets within 0..1).

    Args:
        margins: (N,).
        positive: (N,) bool.
    """
    margin, held = margins.double().numpy(), positive.numpy()
    count = held.sum()
    wanted = np.where(held, (count + 1) / (count + 2), 1 / (len(held) - count + 2))

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = values[0] * margin + values[1]
        away = 1 / (1 + np.exp(-logit)) - wanted
        return float((np.logaddexp(0, logit) - wanted * logit).sum()), np.array([away @ margin, away.sum()])

    slope, offset = minimize(objective, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return float(slope), float(offset)
