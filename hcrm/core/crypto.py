"""Keys and sealed fields: AES-256-GCM with a key id, and keyed blind indexes to find what is sealed.

The key file is JSON: `{"current": "k1", "data": {"k1": base64 32 bytes}, "index": base64 32 bytes}`. It lies
outside every database and backup. Data keys rotate (old ids stay readable), the index key does not.
"""

import base64
import hmac
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hcrm.core.errors import HcrmError

_NONCE = 12


class KeyRing:
    """The keys a process holds; made once at start and handed down."""

    def __init__(self, *, current: str, data: dict[str, bytes], index: bytes) -> None:
        # Built once: setting up AES costs more than sealing a phone number.
        self._ciphers = {name: AESGCM(key) for name, key in data.items()}
        self._cipher = self._ciphers[current]
        self._head = bytes([len(current)]) + current.encode()
        self._index = index

    def seal(self, plain: bytes) -> bytes:
        """Length of key id, key id, nonce, ciphertext with tag."""
        nonce = os.urandom(_NONCE)
        return self._head + nonce + self._cipher.encrypt(nonce, plain, self._head)

    def open(self, sealed: bytes) -> bytes:
        """The plain bytes; a missing key or a changed byte raises."""
        end = 1 + sealed[0]
        head, nonce = bytes(sealed[:end]), bytes(sealed[end : end + _NONCE])
        name = head[1:].decode()
        if name not in self._ciphers:
            raise HcrmError("key.missing", f"缺少数据密钥 {name}", status=503)
        return self._ciphers[name].decrypt(nonce, bytes(sealed[end + _NONCE :]), head)

    def seal_text(self, plain: str) -> bytes:
        """`seal` of UTF-8."""
        return self.seal(plain.encode())

    def open_text(self, sealed: bytes) -> str:
        """`open` of UTF-8."""
        return self.open(sealed).decode()

    def seal_token(self, plain: str) -> str:
        """`seal_text` for an address: letters, digits, hyphens and underscores."""
        return base64.urlsafe_b64encode(self.seal_text(plain)).decode().rstrip("=")

    def open_token(self, token: str) -> str:
        """`seal_token` opened; ValueError where it is none of ours."""
        try:
            return self.open_text(
                base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            )
        except (IndexError, InvalidTag, HcrmError) as error:
            raise ValueError("no token of ours") from error

    def blind(self, purpose: str, value: str) -> str:
        """A keyed fingerprint of a value for equality search; purposes never collide (`phone`, `phone4`, `id`)."""
        return hmac.digest(self._index, f"{purpose}\x00{value}".encode(), "sha256").hex()[:32]


def make_key_file(path: Path) -> KeyRing:
    """Create a key file nobody but its owner reads; an existing one is never touched."""
    content = {
        "current": "k1",
        "data": {"k1": base64.b64encode(os.urandom(32)).decode()},
        "index": base64.b64encode(os.urandom(32)).decode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    return load_key_file(path)


def load_key_file(path: Path) -> KeyRing:
    """Read a key file; whatever is wrong with it is said in one line without its content."""
    try:
        content = json.loads(path.read_text())
        data = {name: base64.b64decode(key) for name, key in content["data"].items()}
        index = base64.b64decode(content["index"])
        if any(len(key) != 32 for key in (*data.values(), index)):
            raise ValueError("key length")
        return KeyRing(current=content["current"], data=data, index=index)
    except FileNotFoundError as error:
        raise HcrmError("key.file", f"找不到密钥文件 {path}；请设置 HCRM_KEY_FILE") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HcrmError("key.file", f"密钥文件 {path} 无法读取") from error
