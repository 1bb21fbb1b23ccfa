"""Who acts. Every work has one; audit keeps its name."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a machine client or a process of our own.

    `permissions` are the words of `accounts/permissions.py`. `department_ids` is the row scope: None means
    every department, an empty set means none.
    """

    id: str
    name: str
    kind: str = "person"
    permissions: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    department_ids: frozenset[str] | None = field(default_factory=frozenset)
    practitioner_id: str | None = None
    address: str | None = None

    def may(self, permission: str) -> bool:
        """Whether the actor holds the permission."""
        return permission in self.permissions or "*" in self.permissions


def system_actor(name: str) -> Actor:
    """A process of our own (worker, job, command): sees everything, named in audit."""
    return Actor(
        id=f"system:{name}", name=name, kind="system", permissions=frozenset({"*"}), department_ids=None
    )
