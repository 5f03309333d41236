"""`fed-client`: the daemon at a hospital, and what its IT person and privacy officer ask of it."""

from fed_common.command_line import Command, command_line
from fed_common.logs import log_to_stderr, run_command

app = command_line(
    "fed-client",
    "A hospital's side of the federation: images and budget stay here, noised updates leave.",
    {
        "doctor": Command(
            "fed_client.doctor.command:doctor",
            "Examine data, machine, server and budget before taking part; ends with 1 if something must be "
            "mended.",
        ),
        "enroll": Command(
            "fed_client.enrolment.command:enroll",
            "Make this hospital's keys, which never leave it, and have them certified by the coordinator.",
        ),
        "start": Command(
            "fed_client.commands:start",
            "Run the daemon: answer the coordinator's plans until SIGTERM or Ctrl-C.",
        ),
        "model": Command(
            "fed_client.commands:model",
            "Print the installed model's fingerprint, as `policy.allowed_models` wants it.",
        ),
        "task": Command(
            "fed_common.templates.command:task",
            "List the tasks that come with the program, or write one as a task.toml to start from.",
        ),
        "audit": Command(
            "fed_client.audit_commands:app",
            "Check the audit log, show it, prove what is in it, and hand it to auditors.",
        ),
        "data": Command(
            "fed_client.data_commands:app",
            "Register the hospital's images; show, check and compare what was registered.",
        ),
        "ledger": Command(
            "fed_client.ledger_commands:app",
            "Show what the privacy budget went to, check the record of it, and hand a copy to auditors.",
        ),
        "policy": Command(
            "fed_client.policy_commands:app",
            "Make the privacy officer's key, and sign with it what site.toml allows.",
        ),
    },
)


def main() -> None:
    """Run the command line."""
    log_to_stderr()
    run_command("fed-client", app)
