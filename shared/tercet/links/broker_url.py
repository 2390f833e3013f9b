"""Where the broker is: mqtt://[USER[:PASSWORD]@]HOST[:PORT], or mqtts:// for TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tercet.errors import SettingsError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerUrl:
    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Without credentials: fit for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """Raises SettingsError for anything but the form above."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise SettingsError(f"broker URL: {error}") from error
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise SettingsError("broker URL must look like mqtt://HOST:PORT, or mqtts://USER:PASSWORD@HOST:PORT")
        return cls(
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )
