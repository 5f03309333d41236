"""The reference: Opacus' per-image gradients, for every layer that Opacus can tell apart by image."""

# Shape letters: N images, K classes, S patients, P parameters of the flattened model.

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import nn

from fed_client.private_step.step import ROUNDING, PatientBatch
from fed_common.errors import PrivacyError
from fed_common.objective import image_losses


class OpacusStep:
    """Puts every patient's gradient side by side, then clips and adds them."""

    def __init__(self, model: nn.Module) -> None:
        """Hook into `model`.

        Raises:
            PrivacyError: the model has a layer whose gradients can't be told apart by image.
        """
        # Opacus 1.6.0 unfolds a convolution's input as if it were contiguous: with channels_last, which is
        # faster, the gradients of all but the first layer come out wrong.
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        try:
            self._model = GradSampleModule(model, loss_reduction="sum", strict=True)
        except NotImplementedError as error:
            raise PrivacyError(f"the model can't be trained privately: {error}") from error

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        """Return the sum (P) over patients of their clipped mean gradients."""
        gradients_SP = self.patient_gradients(batch, class_weights)
        norms_S = torch.linalg.vector_norm(gradients_SP, dim=1, dtype=torch.float64)
        finite_S = norms_S.isfinite()
        gradients_SP[~finite_S] = 0  # not by their factor: 0 * NaN is NaN
        factors_S = torch.where(finite_S, (clip_norm * (1 - ROUNDING) / norms_S).clamp(max=1), 0)
        total_P: NDArray[np.float64] = (factors_S @ gradients_SP.double()).numpy()
        return total_P

    def patient_gradients(self, batch: PatientBatch, class_weights: Sequence[float] = ()) -> torch.Tensor:
        """Return each patient's gradient (S, P): the mean over its images."""
        # Without a gradient at the pixels, torch warns that Opacus' hook on the first layer may miss inputs.
        device = next(self._model.parameters()).device
        logits_NK = self._model(batch.images_NCHW.detach().to(device).requires_grad_())
        # A sum of independent losses: a mean would couple the patients (privacy rule 13).
        torch.autograd.backward(image_losses(logits_NK, batch.labels_N.to(device), class_weights).sum())
        parameters = list(self._model.parameters())
        gradients_NP = torch.cat([parameter.grad_sample.flatten(1).cpu() for parameter in parameters], dim=1)
        self._model.zero_grad(set_to_none=True)
        sums_SP = gradients_NP.new_zeros(batch.num_patients, gradients_NP.shape[1])
        sums_SP.index_add_(0, batch.owner_N, gradients_NP)
        counts_S = torch.bincount(batch.owner_N, minlength=batch.num_patients)
        return sums_SP / counts_S[:, None]
