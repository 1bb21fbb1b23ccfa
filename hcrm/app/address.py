"""Addresses to listen on, as they are typed; a module of its own, since every role needs it and nothing else."""

from hcrm.core.errors import HcrmError


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:8080` as host and port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise HcrmError("serve.address", f"地址应写作 主机:端口，而不是 {address!r}")
    return host.strip("[]"), int(port)
