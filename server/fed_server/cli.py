"""`fed-server`: the coordinator's rounds, its sites, and the models that it lets go."""

from fed_common.command_line import Command, command_line
from fed_common.logs import log_to_stderr, run_command

_SITES = "fed_server.registry.commands"
_MODELS = "fed_server.artefacts.command"
_WITHDRAWAL = "fed_server.withdrawal.command"

app = command_line(
    "fed-server",
    "The coordinator: asks the hospitals round by round and publishes the signed model.",
    {
        "start": Command(
            "fed_server.commands:start",
            "Run all rounds, or go on with the run that was interrupted; ends with a signed model and a "
            "report.",
        ),
        "status": Command(
            "fed_server.status_command:status",
            "Show where a run stands, and of each site: accepted, tightened or refused, and what it has "
            "spent.",
        ),
        "invite": Command(
            f"{_SITES}:invite",
            "Print the line with which a hospital enrolls, once; send it by a way that both sides trust.",
        ),
        "approve": Command(
            f"{_SITES}:approve",
            "Certify the site whose six words the hospital reads over the phone; a renewal has been read "
            "before.",
        ),
        "revoke": Command(
            f"{_SITES}:revoke",
            "Shut a site out: its next request is refused, and its open connections are cut within seconds.",
        ),
        "sites": Command(
            f"{_SITES}:sites", "Show who is invited, waits for approval, is enrolled or revoked."
        ),
        "desk": Command(
            f"{_SITES}:desk",
            "Take in invited sites and renewals without a run, until Ctrl-C; `start` has the desk open, too.",
        ),
        "publish": Command(
            f"{_MODELS}:publish",
            "Let a finished model go, signed with the passed audit of the code that made it.",
        ),
        "cosign": Command(
            f"{_MODELS}:cosign",
            "Ask those sites again that have not co-signed a finished run's model yet.",
        ),
        "trust": Command(
            f"{_MODELS}:trust",
            "Write the root of trust, the keys of coordinator and sites, and print the digits to compare it "
            "by.",
        ),
        "verify": Command(
            f"{_MODELS}:verify",
            "Check that a model is the one that was signed, and print what is vouched for.",
        ),
        "verify-run": Command(
            f"{_MODELS}:verify_run",
            "Make every digest of a run again, from its journal and checkpoints, and check all signatures.",
        ),
        "withdraw": Command(
            f"{_WITHDRAWAL}:withdraw",
            "Let a site leave: it is asked nothing from now on, and the models that it is part of are named.",
        ),
        "check-withdrawal": Command(
            f"{_WITHDRAWAL}:check_withdrawal",
            "Check a certificate of withdrawal, and print what it certifies.",
        ),
        "dev-certificates": Command(
            "fed_server.commands:dev_certificates",
            "Make throw-away certificates and keys for development on one machine. Not for real hospitals.",
        ),
        "task": Command(
            "fed_common.templates.command:task",
            "List the tasks that come with the program, or write one as a task.toml to start from.",
        ),
        "audit": Command(
            "fed_server.audit_commands:app",
            "Check the audit log, show it, prove what is in it, and hand it to auditors.",
        ),
        "ca": Command(
            "fed_server.authority.commands:app",
            "Found the certificate authority, show it, renew the server's certificate.",
        ),
    },
)


def main() -> None:
    """Run the command line."""
    log_to_stderr()
    run_command("fed-server", app)
