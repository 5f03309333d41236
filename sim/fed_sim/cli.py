"""`fed-sim`: hospitals made of phantoms or public images, references, whole federations on one machine."""

from fed_common.command_line import Command, command_line
from fed_common.logs import log_to_stderr, run_command

_EXPERIMENTS = "fed_sim.experiments.command"

app = command_line(
    "fed-sim",
    "Rehearse a federation on one machine, with the code that hospitals and coordinator run.",
    {
        "plan": Command(
            "fed_sim.planning.command:plan",
            "Show what a run would cost, against whom it protects, and what it leaves of each site's budget.",
        ),
        "forecast": Command(
            "fed_sim.planning.command:forecast",
            "Show the AUC to expect by epsilon and rounds, from whole simulated runs on public images.",
        ),
        "audit": Command(
            "fed_sim.audit.command:audit",
            "Attack a site of the installed code by planted images; judge clipping, sampling, noise and "
            "epsilon.",
        ),
        "virtual": Command(
            "fed_sim.engine.command:virtual",
            "Run thousands of virtual sites with drawn images; called again, it goes on where it was killed.",
        ),
        "compare": Command(
            f"{_EXPERIMENTS}:compare",
            "Train alone, together by each method, and pooled, at each budget; ends with a report.",
        ),
        "sweep": Command(
            f"{_EXPERIMENTS}:sweep",
            "Train together with every combination of some settings, beside alone and pooled; ends with a "
            "report.",
        ),
        "report": Command(
            f"{_EXPERIMENTS}:report",
            "Write the report of a comparison or sweep anew, of what was trained so far.",
        ),
        "phantoms": Command(
            "fed_sim.commands:phantoms",
            "Write hospitals of drawn chests, some with a lesion, as folders of DICOM files with labels.",
        ),
        "import": Command(
            "fed_sim.commands:import_images",
            "Turn a public image collection into hospitals of DICOM files; no patient is in two of them.",
        ),
        "example": Command(
            "fed_sim.commands:example_table",
            "Write a table to try `import --columns` with: scikit-learn's breast-cancer set.",
        ),
        "test-set": Command(
            "fed_sim.commands:test_set",
            "Turn public DICOM images into the coordinator's test set; it opens no DICOM file itself.",
        ),
        "pretrain": Command(
            "fed_sim.ultrasound.command:pretrain",
            "Draw breast ultrasounds, with and without lesions, and train the network that "
            "`breast-ultrasound` has.",
        ),
        "baseline": Command(
            "fed_sim.commands:baseline",
            "Train the unprotected references: all images pooled on one machine, and each hospital alone.",
        ),
        "run": Command(
            "fed_sim.commands:run",
            "Run a whole federation in one process; called again, it goes on where it was interrupted.",
        ),
        "demo": Command(
            "fed_sim.commands:demo",
            "Run the main job: a coordinator and hospital daemons, separate processes, TLS, private "
            "training.",
        ),
        "bench": Command(
            "fed_sim.bench.commands:app",
            "Measure speed on this machine, as ratios within one run; or what privacy costs in accuracy.",
        ),
    },
)


def main() -> None:
    """Run the command line."""
    log_to_stderr()
    run_command("fed-sim", app)
