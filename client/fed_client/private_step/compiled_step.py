"""The fastest way, for small networks: blocks of 3x3 convolution, ReLU and 2x2 pooling, then a linear layer.

The blocks are compiled loops (`fed_client.loops.convolution`); the linear layer and the loss are torch's.
Patients are dealt out to as many threads as torch may use.
"""

# Shape letters: N images, C channels, H rows, W columns, K classes, O outputs, Q = 3 C inputs of a kernel
# row, T = 3 kernel rows, S patients, P parameters; of a pooled map: R rows, L columns, F = R L O features.

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.loops import convolution
from fed_client.loops.convolution import Floats, Winners
from fed_client.private_step.step import PatientBatch, UnsupportedLayerError
from fed_common.errors import ConfigError
from fed_common.objective import image_losses


@dataclass(frozen=True, kw_only=True)
class _Pooled:
    """What went into a block, and what came out of it."""

    images_NHWC: Floats
    pooled_NRLO: Floats
    winners_NRLO: Winners


class CompiledStep:
    """Computes one network, whose parameters it reads anew at each call."""

    def __init__(self, model: nn.Module) -> None:
        """Take `model` apart.

        Raises:
            UnsupportedLayerError: it isn't such a network, or not on the CPU.
        """
        self._convolutions, self._linear = _taken_apart(model)
        self._threads = ThreadPoolExecutor(torch.get_num_threads())

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        """Return the sum (P) over patients of their clipped mean gradients."""

        def of_part(part: PatientBatch) -> NDArray[np.float64]:
            return self._clipped_sum(part, clip_norm, class_weights)

        parts = _parts(batch, torch.get_num_threads())
        # Alone, the calling thread needs no other.
        sums = map(of_part, parts) if len(parts) == 1 else self._threads.map(of_part, parts)
        total_P: NDArray[np.float64] = np.sum(list(sums), axis=0)
        return total_P

    @torch.no_grad()
    def _clipped_sum(
        self, batch: PatientBatch, clip_norm: float, class_weights: Sequence[float]
    ) -> NDArray[np.float64]:
        pooled = self._pool(batch)
        features_NRLO = torch.from_numpy(pooled[-1].pooled_NRLO)
        # The layer's features are in the order of (O, R, L).
        weights_KRLO = self._linear.weight.reshape(-1, *features_NRLO.movedim(3, 1).shape[1:]).movedim(1, 3)
        features_NF, weights_KF = features_NRLO.flatten(1), weights_KRLO.flatten(1)
        logits_NK = features_NF @ weights_KF.T + self._linear.bias
        errors_NK = _logit_gradients(logits_NK, batch, class_weights)

        gradients_SP = torch.zeros(batch.num_patients, sum(p.numel() for p in self._parameters()))
        of_linear_SP = gradients_SP[:, -self._linear.weight.numel() - self._linear.bias.numel() :]
        of_weights_NKF = errors_NK[:, :, None] * features_NF[:, None, :]
        of_linear_SP.index_add_(0, batch.owner_N, torch.cat([of_weights_NKF.flatten(1), errors_NK], dim=1))
        self._go_back(
            pooled,
            batch.owner_N.numpy(),
            (errors_NK @ weights_KF).reshape(features_NRLO.shape).numpy(),
            gradients_SP.numpy(),
        )
        total_P = np.zeros(gradients_SP.shape[1])
        convolution.add_clipped(gradients_SP.numpy(), clip_norm, total_P)
        return self._in_models_order(total_P, features_NRLO.shape[1:])

    def _pool(self, batch: PatientBatch) -> list[_Pooled]:
        """Return what each block made of the images."""
        images_NHWC = batch.images_NCHW.movedim(1, 3).contiguous().numpy()
        blocks: list[_Pooled] = []
        for layer in self._convolutions:
            count, rows, columns, channels = images_NHWC.shape
            if channels != layer.in_channels:  # the loops don't look
                raise ConfigError(f"a convolution of {layer.in_channels} channels was given {channels}")
            shape = (count, (rows - 2) // 2, (columns - 2) // 2, layer.out_channels)
            block = _Pooled(
                images_NHWC=images_NHWC,
                pooled_NRLO=np.empty(shape, dtype=np.float32),
                winners_NRLO=np.empty(shape, dtype=np.int32),
            )
            weight, bias_O = layer.parameters()
            weights_TQO = weight.permute(2, 3, 1, 0).reshape(3, -1, layer.out_channels)
            convolution.convolve_and_pool(
                _rows(images_NHWC),
                weights_TQO.contiguous().numpy(),
                bias_O.numpy(),
                np.empty((2, 2 * shape[2], layer.out_channels), dtype=np.float32),
                block.pooled_NRLO,
                block.winners_NRLO,
            )
            blocks.append(block)
            images_NHWC = block.pooled_NRLO
        return blocks

    def _go_back(
        self, pooled: list[_Pooled], owner_N: NDArray[np.int64], errors_NRLO: Floats, gradients_SP: Floats
    ) -> None:
        """Add the blocks' gradients, from the one at the last pooled map backwards."""
        end = gradients_SP.shape[1] - self._linear.weight.numel() - self._linear.bias.numel()
        for layer, block in zip(reversed(self._convolutions), reversed(pooled), strict=True):
            end -= layer.weight.numel() + layer.out_channels
            convolution.weight_gradients(
                _rows(block.images_NHWC),
                layer.in_channels,
                owner_N,
                errors_NRLO,
                block.winners_NRLO,
                gradients_SP,
                end,
            )
            if end:
                weights_OTQ = layer.weight.permute(0, 2, 3, 1).reshape(layer.out_channels, 3, -1)
                next_NHWC = np.zeros_like(block.images_NHWC)
                convolution.image_gradients(
                    errors_NRLO, block.winners_NRLO, weights_OTQ.contiguous().numpy(), _rows(next_NHWC)
                )
                errors_NRLO = next_NHWC

    def _in_models_order(self, total_P: NDArray[np.float64], shape_RLO: torch.Size) -> NDArray[np.float64]:
        """Return the vector with channels first."""
        pieces, start = [], 0
        for parameter in self._parameters():
            piece_P = total_P[start : start + parameter.numel()]
            if parameter.dim() == 4:
                piece_P = piece_P.reshape(len(parameter), 3, 3, -1).transpose(0, 3, 1, 2).ravel()
            elif parameter.dim() == 2:
                piece_P = piece_P.reshape(-1, *shape_RLO).transpose(0, 3, 1, 2).ravel()
            pieces.append(piece_P)
            start += parameter.numel()
        return np.concatenate(pieces)

    def _parameters(self) -> list[torch.Tensor]:
        return [
            parameter for layer in (*self._convolutions, self._linear) for parameter in layer.parameters()
        ]


def _taken_apart(model: nn.Module) -> tuple[list[nn.Conv2d], nn.Linear]:
    layers = list(model.children())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    linear = layers[-1] if layers else None
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if isinstance(linear, nn.Linear) and convolutions and on_cpu:
        channels = tuple((layer.in_channels, layer.out_channels) for layer in convolutions)
        if repr(model) == _known(channels, linear.in_features, linear.out_features):
            return convolutions, linear
    raise UnsupportedLayerError("not a chain of 3x3 convolutions, ReLUs, 2x2 pools and a linear layer")


@cache  # the network is taken apart in each round of each site
def _known(channels: tuple[tuple[int, int], ...], features: int, outputs: int) -> str:
    """Return such a network as it is printed: layers show their class and what differs from its defaults."""
    with torch.device("meta"):  # shapes only, no memory
        blocks = [part for before, after in channels for part in _block(before, after)]
        return repr(nn.Sequential(*blocks, nn.Flatten(), nn.Linear(features, outputs)))


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.MaxPool2d(2)


def _rows(images_NHWC: Floats) -> Floats:
    """Return a view of the images, each row of them as one run of numbers."""
    return images_NHWC.reshape(*images_NHWC.shape[:2], -1)


def _parts(batch: PatientBatch, most: int) -> list[PatientBatch]:
    """Return the batch in up to `most` parts of about as many patients."""
    number = min(most, batch.num_patients)
    part_S = torch.arange(batch.num_patients) * number // batch.num_patients
    return [batch] if number == 1 else [batch.only(part_S == part) for part in range(number)]


@torch.enable_grad()
def _logit_gradients(
    logits_NK: torch.Tensor, batch: PatientBatch, class_weights: Sequence[float]
) -> torch.Tensor:
    """Return each image's part of its patient's gradient at the logits."""
    logits_NK = logits_NK.requires_grad_()
    losses_N = image_losses(logits_NK, batch.labels_N, class_weights)
    (gradients_NK,) = torch.autograd.grad(losses_N.sum(), logits_NK)
    counts_S = torch.bincount(batch.owner_N, minlength=batch.num_patients)
    return gradients_NK / counts_S[batch.owner_N, None]
