"""Who may do what, and what makes it so: an action is done with a key, and a role is whoever holds it.

Nothing asks for a role's name or a password: each side checks signatures, wherever it runs. So a hospital's
IT can't loosen its policy, nor the coordinator make a budget; an auditor needs nothing that is secret. The
table in the README is made from this one, and tests/test_roles.py tries every cell.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["coordinator", "site operator", "privacy officer", "auditor"]
Key = Literal["CA's key", "coordinator's identity", "site's identity", "officer's key"]
Action = Literal[
    "certify the server and sites",
    "invite, approve and revoke sites",
    "ask sites, publish models",
    "certify that a site left",
    "answer, charge the ledger",
    "co-sign finished models",
    "certify that patients left",
    "sign what a site allows",
    "begin another budget",
    "check models, ledgers and logs",
]

ROLES: tuple[Role, ...] = get_args(Role)
ACTIONS: tuple[Action, ...] = get_args(Action)

HOLDS: Mapping[Role, frozenset[Key]] = {
    "coordinator": frozenset({"CA's key", "coordinator's identity"}),
    "site operator": frozenset({"site's identity"}),
    "privacy officer": frozenset({"officer's key"}),
    "auditor": frozenset(),
}

NEEDS: Mapping[Action, frozenset[Key]] = {
    "certify the server and sites": frozenset({"CA's key"}),
    "invite, approve and revoke sites": frozenset({"coordinator's identity"}),
    "ask sites, publish models": frozenset({"coordinator's identity"}),
    "certify that a site left": frozenset({"coordinator's identity"}),
    "answer, charge the ledger": frozenset({"site's identity"}),
    "co-sign finished models": frozenset({"site's identity"}),
    "certify that patients left": frozenset({"site's identity"}),
    "sign what a site allows": frozenset({"officer's key"}),
    "begin another budget": frozenset({"officer's key"}),
    "check models, ledgers and logs": frozenset(),
}


def may(role: Role, action: Action) -> bool:
    """Tell whether the role holds every key that the action needs."""
    return NEEDS[action] <= HOLDS[role]
