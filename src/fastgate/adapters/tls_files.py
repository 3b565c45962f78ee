"""TLS files: the certificate that clients are shown, read anew when it was renewed.

Owns:      one context of the process, and how its files looked when it read them.
Called by: wiring, in the supervisor before the first fork and in each process that
           serves a listener.
Source:    RFC 9325 (TLS 1.2 at least), RFC 7301 (HTTP/1.1 is offered), THREATS F35.
"""

import pathlib
import ssl

from fastgate.errors import StartError

__all__ = ["ServerTls"]

_Looks = tuple[tuple[int, int, int], ...]


class ServerTls:
    """The TLS of one listener.

    cert: File of the certificate and those that lead to its authority, in PEM.
    key: File of its private key. client_ca: File of the authorities whose clients are
        let in; None: clients show no certificate.
    section: Of the configuration, for messages.
    Raises StartError where the files cannot be used.

    context: For new connections; `refresh` changes what it shows, not the object.
    """

    def __init__(
        self,
        cert: str,
        key: str,
        client_ca: str | None = None,
        *,
        section: str = "tls",
    ) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._section = section
        self._looks = self._look()
        self.context = self._make()

    def refresh(self) -> bool:
        """Show a renewed certificate to whoever connects from now on.

        Returns whether there was one. Raises StartError where the new files cannot be
        used: then the old certificate is shown on, and the same files are not tried
        again.
        """
        looks = self._look()
        if looks == self._looks:
            return False
        self._looks = looks
        # Tried on a context that nobody uses: a half-changed one would refuse everyone.
        self._make()
        self._load(self.context)
        return True

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # No password is asked for on a terminal: an encrypted key is refused.
            context.load_cert_chain(self._cert, self._key, password=b"")
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise StartError(f"{self._section}: {_reason(error)}") from error

    def _look(self) -> _Looks:
        files = [self._cert, self._key, self._client_ca]
        return tuple(_looks_of(path) for path in files if path is not None)


def _looks_of(path: str) -> tuple[int, int, int]:
    try:
        found = pathlib.Path(path).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"certificate and key do not fit: {error.reason or 'no PEM'}"
    if isinstance(error, OSError):
        return error.strerror or "a file cannot be read"
    return "a file is no PEM"
