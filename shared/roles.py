"""What a caller may be. The one list of roles; everything that names them reads it here."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["service_role", "operator", "authenticated"]
ROLES: tuple[Role, ...] = get_args(Role)
"""The highest first: a token that names several is taken for the highest of them."""


def role_map(value: object) -> tuple[tuple[str, Role], ...]:
    """Pairs of a name in tokens and a role, from `admin=service_role,user=authenticated`.

    Raises ValueError, which repeats nothing of the value.
    """
    parts = [part.strip() for part in str(value).split(",")]
    pairs: dict[str, Role] = {}
    for number, part in enumerate(parts, start=1):
        if not part:
            continue
        name, separator, target = (piece.strip() for piece in part.rpartition("="))
        role = next((role for role in ROLES if role == target), None)
        if not separator or not name or role is None:
            raise ValueError(f"part {number} must be like admin=service_role, with one of {', '.join(ROLES)}")
        if pairs.get(name, role) != role:
            raise ValueError(f"part {number} gives a name a second role")
        pairs[name] = role
    return tuple(pairs.items())


def claim_names(value: object) -> str:
    """Names of claims, separated by commas, as they are kept. Raises ValueError where there is none."""
    names = [name.strip() for name in str(value).split(",")]
    if not all(names) or any(not name.isprintable() for name in names):
        raise ValueError("must be the name of a claim, such as role, app_metadata.role or https://example.com/roles")
    return ",".join(names)
