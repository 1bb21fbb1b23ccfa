"""The one way to refuse: a stable code for machines and a sentence in Chinese for people."""


class HcrmError(Exception):
    """A refusal a person can act on.

    `code` is stable (`noun.reason`), `message` is shown as it stands, `field` names the input at fault,
    `status` is the HTTP status a page or API answers with.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None, status: int = 422) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.field = field
        self.status = status


class NotFoundError(HcrmError):
    """The thing does not exist for this actor; outside their scope looks the same as absent (W1)."""

    def __init__(self, code: str = "not_found", message: str = "没有找到，或您无权查看") -> None:
        super().__init__(code, message, status=404)


class DeniedError(NotFoundError):
    """It exists, but not for this actor. The answer is that of NotFoundError; the shell notes the attempt in audit.

    A refusal rolls its work back, so the note cannot be written there.
    """

    def __init__(
        self,
        action: str,
        *,
        subject_type: str | None = None,
        subject_id: str | None = None,
        patients: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.action = action
        self.subject_type = subject_type
        self.subject_id = subject_id
        self.patients = patients


class ConflictError(HcrmError):
    """Somebody else changed it first, or its state no longer allows the act."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, status=409)


class InvalidInput(HcrmError):
    """Several fields at once: `errors` maps the field to its sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("input.invalid", "请检查标出的内容", field=next(iter(errors), None))
        self.errors = errors
