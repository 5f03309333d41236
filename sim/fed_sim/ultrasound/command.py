"""`fed-sim pretrain`: makes the weights anew that the network for breast ultrasound looks through."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fed_common.errors import ConfigError
from fed_common.files import write_atomically
from fed_common.machine import settle_in
from fed_common.metrics import exact_auc

# Drawings that the network is judged on are those of another seed.
_JUDGED = 500


def pretrain(
    out: Annotated[Path, typer.Option(help="A new .safetensors file.")],
    drawings: Annotated[int, typer.Option(help="How many to learn from.", min=200)] = 48_000,
    passes: Annotated[int, typer.Option(help="How often each is seen.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal drawings.", min=0)] = 1,
) -> None:
    """Draw breast ultrasounds, with and without lesions, and train the network that `breast-ultrasound` has.

    No patient's picture is used. It takes ten minutes. The weights in the package were made so, of the same
    drawings; rounding makes others, which judge as well.
    """
    from fed_common.models.malignancy_score import load_weights, weights_of  # noqa: PLC0415
    from fed_sim.ultrasound.pretraining import draw_many, trained  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"{out} exists already")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent} is no folder")
    settle_in()
    console = Console()
    console.print(f"drawing {drawings:,} breast ultrasounds")
    known = draw_many(drawings, seed=seed)
    network = trained(
        known,
        passes=passes,
        seed=seed,
        told=lambda number, loss: console.print(f"pass {number} of {passes}: loss {loss:.3f}"),
    )
    weights = weights_of(network)
    write_atomically(out, weights)
    others = draw_many(_JUDGED, seed=seed + 1)
    scores_N = load_weights(weights)(others.pictures_NHW).double().numpy()
    auc = exact_auc(scores_N, others.malignant_N.numpy())
    console.print(
        f"{out}: AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] on {_JUDGED:,} drawings of another seed"
    )
