import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from pipeline.modeling.svm import linear_svm, platt


def two_clouds(apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    positive = torch.rand(400, generator=rng) < 0.3
    return torch.randn(400, 6, generator=rng) + apart * positive[:, None], positive


@pytest.mark.parametrize("c", [0.001, 0.01, 1.0])
@pytest.mark.parametrize("apart", [0.5, 3.0], ids=["mixed", "apart"])
def test_it_is_the_svm_of_liblinear(c: float, apart: float) -> None:
    features, positive = two_clouds(apart)
    weight, bias = linear_svm(features, positive, c)
    peer = LinearSVC(C=c, loss="squared_hinge", dual=False, tol=1e-8).fit(features.numpy(), positive.numpy())
    assert weight.numpy() == pytest.approx(peer.coef_[0], abs=2e-3)
    assert float(bias) == pytest.approx(float(peer.intercept_[0]), abs=2e-3)


def test_chances_are_those_of_a_logistic_regression_on_the_margin() -> None:
    features, positive = two_clouds(0.5)
    margins = features.sum(1)
    slope, offset = platt(margins, positive)
    peer = LogisticRegression(C=np.inf, tol=1e-8).fit(margins[:, None].numpy(), positive.numpy())
    assert slope == pytest.approx(float(peer.coef_[0, 0]), rel=0.05)  # Platt's targets lie a little within 0..1
    assert offset == pytest.approx(float(peer.intercept_[0]), rel=0.05)


def test_a_margin_that_tells_all_gives_no_certainty() -> None:
    """Platt's targets of n positives and n negatives are (n + 1) / (n + 2) and 1 / (n + 2)."""
    margins = torch.tensor([1.0] * 8 + [-1.0] * 8)
    slope, offset = platt(margins, margins > 0)
    assert 1 / (1 + np.exp(-(slope + offset))) == pytest.approx(0.9, abs=1e-3)
    assert 1 / (1 + np.exp(-(offset - slope))) == pytest.approx(0.1, abs=1e-3)
