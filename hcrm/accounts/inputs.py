"""What the forms of accounts may say."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from hcrm.core.inputs import Input, OptionalText

Line = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# A password is taken as typed: blanks around it belong to it.
Secret = Annotated[str, StringConstraints(min_length=1, max_length=1024, strip_whitespace=False)]
Names = Annotated[
    tuple[Line, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class NewAccount(Input):
    """An account to be made."""

    username: Line
    display_name: Line
    role: Names = Field(min_length=1)
    department: OptionalText = None
    practitioner: OptionalText = None


class PasswordChange(Input):
    """One's own password, changed."""

    old_password: Secret
    new_password: Secret
    again_password: Secret
