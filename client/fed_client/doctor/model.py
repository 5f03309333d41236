"""Says whether the policy allows the installed network, and whether that keeps patients apart."""

from fed_client.config import SiteConfig
from fed_client.doctor.check import Check, failed
from fed_client.model_validation import refuse_unsafe
from fed_client.private_step import MakeStep, private_step
from fed_common.errors import PrivacyError
from fed_common.models import spec_for


def check_model(config: SiteConfig, *, make_step: MakeStep = private_step) -> Check:
    """Return how the installed network is; the daemon makes the same examination before it starts."""
    spec = spec_for(config.task)
    try:
        refuse_unsafe(spec, several_labels=config.task.multi_label, make_step=make_step)
    except PrivacyError as error:
        return failed("model", error, advice="install another release: this one can't train privately")
    if spec.fingerprint not in config.policy.allowed_models:
        return Check(
            subject="policy",
            status="failure",
            found=f"does not allow the installed model {spec.fingerprint}",
            advice="if the privacy officer agrees, add it to policy.allowed_models",
        )
    return Check(
        subject="policy",
        status="ok",
        found=f"allows the installed model {spec.fingerprint}, which keeps patients apart",
    )
