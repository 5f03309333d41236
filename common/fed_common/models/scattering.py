"""The scattering transform of order 2: a picture's edges and textures, known before any patient is seen.

It has no weights: a patient's picture is filtered by wavelets, rectified, averaged, and what the average lost
is filtered once more. Shifts by less than 2^J pixels hardly change it, and no layer makes a change of the
picture more than 2 % larger.

Source: Bruna and Mallat, "Invariant Scattering Convolution Networks" (2013), section 2.
"""

# Shape letters: B pictures of H x W pixels, M x M samples with the margin, A angles, F coefficients,
# h x w places of a map, 2^J times fewer.

import torch
from torch.nn import functional

from fed_common.models.wavelets import filter_bank

SCALES = 3
ANGLES = 8
STRIDE = 2**SCALES

NUM_COEFFICIENTS = 1 + SCALES * ANGLES + SCALES * (SCALES - 1) // 2 * ANGLES**2


def scatter(pictures_BHW: torch.Tensor) -> torch.Tensor:
    """Return the coefficients (B, F, h, w): the blurred picture, order 1 by scale and angle, order 2.

    The sides must be multiples of 2^J and larger than it; pictures are mirrored at their borders.
    """
    height, width = pictures_BHW.shape[1:]
    mirrored_BMM = functional.pad(pictures_BHW[:, None], (STRIDE,) * 4, mode="reflect")[:, 0]
    bank = filter_bank(mirrored_BMM.shape[-1], scales=SCALES, angles=ANGLES)
    spectrum_BMM = torch.fft.fft2(mirrored_BMM)

    def averaged(spectrum: torch.Tensor, scale: int) -> torch.Tensor:
        """Return the maps behind the low-pass, without the margin, (B, maps, h, w)."""
        low_pass = _coarser_filter(bank.low_pass_MM, 2**scale)
        maps = torch.fft.ifft2(_coarser(spectrum * low_pass, STRIDE >> scale)).real
        inner: torch.Tensor = maps[..., 1 : 1 + height // STRIDE, 1 : 1 + width // STRIDE]
        return inner.reshape(len(pictures_BHW), -1, *inner.shape[-2:])

    first, second = [averaged(spectrum_BMM, 0)], []
    for scale in range(SCALES):
        filtered = _coarser(spectrum_BMM[:, None] * bank.wavelets_AMM[scale], 2**scale)
        envelope = torch.fft.fft2(torch.fft.ifft2(filtered).abs())
        first.append(averaged(envelope, scale))
        for coarser in range(scale + 1, SCALES):
            wavelets = _coarser_filter(bank.wavelets_AMM[coarser], 2**scale)
            filtered = _coarser(envelope[:, :, None] * wavelets, 2 ** (coarser - scale))
            second.append(averaged(torch.fft.fft2(torch.fft.ifft2(filtered).abs()), coarser))
    return torch.cat(first + second, dim=1)


def _coarser(spectrum: torch.Tensor, step: int) -> torch.Tensor:
    """Return the spectrum of every `step`-th sample: its aliases, averaged."""
    return _aliases(spectrum, step).mean(dim=(-4, -2))


def _coarser_filter(spectrum: torch.Tensor, step: int) -> torch.Tensor:
    """Return the spectrum of a filter for every `step`-th sample that sums to the same."""
    return _aliases(spectrum, step).sum(dim=(-4, -2))


def _aliases(spectrum: torch.Tensor, step: int) -> torch.Tensor:
    *batch, height, width = spectrum.shape
    return spectrum.reshape(*batch, step, height // step, step, width // step)
