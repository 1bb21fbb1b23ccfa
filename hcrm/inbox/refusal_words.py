"""What the codes of a refusal at the door mean to the engineer who connects a system, and what to do."""

from typing import Any

from hcrm.inbox.words import REFUSALS, source_words

REFUSAL_DETAILS = {
    "no_certificate": "没有出示证书",
    "subject_not_bound": "证书主体没有登记给该发送方",
    "subject_of_other": "证书登记给了另一来源",
    "expired": "证书已过期",
    "not_yet_valid": "证书还没有生效",
    "unknown_ca": "证书不是我们信任的 CA 签发的",
    "revoked": "证书已吊销",
    "purpose": "证书的用途不是客户端认证",
    "not_tls": "对方没有用 TLS（把明文发到了 TLS 端口）",
    "tls_version": "TLS 版本过低，须 1.2 以上",
    "cipher": "没有双方都支持的加密套件",
    "ours_unknown": "对方不信任我们的证书",
    "ours_expired": "对方认为我们的证书已过期",
    "oversize": "文件过大，或行数、消息数超过上限",
    "charset": "字符集无法识别",
    "columns": "表头缺少列",
    "unreadable": "文件内容无法读取",
    "empty": "文件为空",
    "crashed": "读取时进程两次中断",
    "no_list": "来源配置没有 list_file",
    "refused": "其中有消息未被接收",
}
"""What exactly was wrong: of a certificate, a handshake, a file. Other details are places, or OpenSSL's own words."""


def refusal_words(reason: str, detail: str | None, door: str | None = None) -> str:
    """Why something was refused, as exactly as it is known."""
    what = REFUSALS.get(reason, reason)
    code, _, place = (detail or "").partition(" ")
    if not code:
        return what
    if reason == "file" and code == "refused" and place:
        return f"{what}：{'没有消息被接收' if place == '0' else f'其中有消息未被接收，另 {place} 条已接收'}"
    said = REFUSAL_DETAILS.get(code, code)
    if code == "no_certificate" and (door or "").startswith("mllp "):
        said = "明文端口，没有证书"
    return f"{what}：{said}{f'（{place}）' if place else ''}"


_ADVICE = {
    "sender_certificate": "核对来源文件的 certificate_subjects 与对方出示的证书；绑定证书的来源须用 TLS 端口",
    "sender_address": "核对来源文件的 addresses",
    "sender_token": "核对来源文件的 tokens 与对方所用的令牌",
    "sender_unknown": "在 config/sources/ 为此发送方写一个文件，重启",
    "address_not_allowed": "核对设置 mllp.allow",
    "too_many_connections": "请对方复用连接，或调大 mllp.connections_per_address",
    "no_msh": "请对方核对帧的开头和消息的第一段",
    "half_frame": "对方没有发完就断开，请核对其超时与网络",
    "timeout": "对方没有发完一帧，请核对其结束符 0x1C 0x0D",
    "junk": "帧外有字节，请核对对方的 MLLP 起始符 0x0B",
    "file": "改好后放回文件夹，或移走；同名的 .reason.txt 写有原因",
}
_HANDSHAKE_ADVICE = {
    "no_certificate": "请对方出示客户端证书，由 mllp.tls_ca 中的 CA 签发",
    "unknown_ca": "把对方证书的 CA 加入 mllp.tls_ca 的文件，重启",
    "expired": "请对方换新证书",
    "not_tls": "请对方打开 TLS，或改连明文端口",
    "ours_unknown": "请对方信任我们证书（mllp.tls_cert）的 CA",
}


def refusal_advice(reason: str, detail: str | None, door: str | None = None) -> str:
    """What to do about a refusal."""
    if door == "folder" and reason != "file":
        return "一个文件中的一条消息：改好后只把这一条重新放入文件夹；文件本身在 _error"
    if reason == "tls_handshake":
        return _HANDSHAKE_ADVICE.get(detail or "", "")
    return _ADVICE.get(reason, "")


def peer_words(peer: str) -> str:
    """Where it came from; of a file in whose folder it lay."""
    way, _, source = peer.partition(" ")
    return f"文件夹（{source_words(source)}）" if way == "folder" and source else peer


def peer_of(row: Any) -> str:
    """Where a refusal came from."""
    return peer_words(row.peer)


def door_words(door: str | None) -> str:
    """Where it knocked."""
    kind, _, port = (door or "").partition(" ")
    title = {"mllp": "MLLP", "mllps": "MLLP TLS", "http": "HTTP", "soap": "SOAP", "folder": "文件夹"}.get(
        kind, kind
    )
    return f"{title} {port}".strip()
