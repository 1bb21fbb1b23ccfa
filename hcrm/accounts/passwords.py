"""Passwords as Argon2id hashes (argon2-cffi), in the form Flask-Security reads and writes too.

Hashing costs 64 MiB and a tenth of a second on purpose: callers do it outside every transaction, and sign-in only
after the tries of account and address were counted.
"""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hcrm.core import limits
from hcrm.core.errors import HcrmError

HASHER = PasswordHasher()  # RFC 9106, low memory: 64 MiB, three passes, four lanes

_COMMON = frozenset({
    "12345678", "123456789", "1234567890", "87654321", "11111111", "00000000", "88888888", "66666666",
    "password", "password1", "passw0rd", "qwertyui", "qwerty123", "1qaz2wsx", "abc12345", "a1234567",
    "admin123", "admin888", "hospital", "yiyuan123", "woaini1314", "5201314520", "zxcvbnm1", "iloveyou",
})  # fmt: skip
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no l, i, o, 0, 1: read aloud and typed from paper


def hash_password(password: str) -> str:
    """The hash to store."""
    return HASHER.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one hashed. Without a hash (nobody by that name) it takes as long and says no."""
    nobody = _nobody()  # before either branch: the first sign-in of a process pays for it, whoever tries
    if len(password) > limits.PASSWORD_MAX:
        password = ""
    try:
        HASHER.verify(password_hash or nobody, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _nobody() -> str:
    return hash_password(secrets.token_hex())


def check_new_password(password: str, *, username: str, field: str = "password") -> None:
    """Refuse what is short, common or the name itself; no rule about kinds of characters (ASVS 6.2.5)."""
    plain = password.casefold()
    if len(password) < limits.PASSWORD_MIN:
        message = f"密码至少 {limits.PASSWORD_MIN} 位"
    elif len(password) > limits.PASSWORD_MAX:
        message = f"密码最多 {limits.PASSWORD_MAX} 位"
    elif plain in _COMMON or len(set(plain)) < 4:
        message = "密码过于常见，请换一个"
    elif username.casefold() in plain and len(plain) - len(username) < limits.PASSWORD_MIN - 2:
        message = "密码不能与账号相同或相近"
    else:
        return
    raise HcrmError("password.weak", message, field=field)


def make_password() -> str:
    """A password to hand over once: four groups of four, 79 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
