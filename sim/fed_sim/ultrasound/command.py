"""`fed-sim pretrain`: makes the weights anew that the network for breast ultrasound looks through."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fed_common.errors import ConfigError
from fed_common.machine import settle_in
from fed_common.metrics import exact_auc

# Drawings that the network is judged on are those of another seed.
_JUDGED = 500


def pretrain(
    out: Annotated[Path, typer.Option(help="A new .safetensors file.")],
    drawings: Annotated[int, typer.Option(help="How many to learn from.", min=200)] = 48_000,
    passes: Annotated[int, typer.Option(help="How often each is seen.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal drawings.", min=0)] = 1,
    workers: Annotated[int, typer.Option(help="Processes that draw.", min=1)] = 2,
) -> None:
    """Draw breast ultrasounds, with and without lesions, and train the network that `breast-ultrasound` has.

    No patient's picture is used. The weights in the package were made so, in six minutes on two cores; rounding
    on another machine makes others.
    """
    from fed_common.models.malignancy_score import load_weights, save_weights  # noqa: PLC0415
    from fed_sim.ultrasound.pretraining import draw_many, trained  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"{out} exists already")
    settle_in()
    console = Console()
    console.print(f"drawing {drawings:,} breast ultrasounds")
    known = draw_many(drawings, seed=seed, workers=workers)
    network = trained(
        known,
        passes=passes,
        seed=seed,
        told=lambda number, loss: console.print(f"pass {number} of {passes}: loss {loss:.3f}"),
    )
    save_weights(network, out)
    others = draw_many(_JUDGED, seed=seed + 1, workers=workers)
    scores_N = load_weights(out)(others.pictures_NHW).double().numpy()
    auc = exact_auc(scores_N, others.malignant_N.numpy())
    console.print(
        f"{out}: AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] on {_JUDGED:,} drawings of another seed"
    )
