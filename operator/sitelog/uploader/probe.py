"""Is somebody there, and do both sides take each other's certificate? Asked with plain TLS, before NVFlare is.

NVFlare answers every one of these with the same silence until its timeout, and each of its tries leaves threads
behind; a server outage of half an hour must not.
"""

import socket
import ssl

from sitelog.core.names import Reason

from .failure import Failure
from .kit import Kit

_CONNECT_TIMEOUT = 10.0


def probe(kit: Kit, *, wait_for_alert: float = 0.0) -> None:
    """Shake hands with the server and hang up.

    Parameters
    ----------
    wait_for_alert
        Seconds to listen after the handshake. With TLS 1.3 a server refuses a client's certificate only then.

    Raises
    ------
    Failure
        SERVER_UNREACHABLE, or CERTIFICATE_REFUSED (final).
    """
    try:
        with socket.create_connection((kit.target.host, kit.target.port), timeout=_CONNECT_TIMEOUT) as plain:
            tls = kit.tls()
            if tls is None:
                return
            with tls.wrap_socket(plain, server_hostname=kit.target.host) as connection:
                if wait_for_alert:
                    connection.settimeout(wait_for_alert)
                    connection.recv(1)
    except ssl.SSLCertVerificationError as error:
        raise Failure(
            Reason.CERTIFICATE_REFUSED,
            f"the certificate of {kit.target} was refused: {error.verify_message}; "
            "is the courier's rootCA.pem the one of this server's project?",
            final=True,
        ) from error
    except ssl.SSLError as error:
        raise _refused_or_garbled(kit, error) from error
    except TimeoutError as error:
        if not wait_for_alert:
            raise Failure(Reason.SERVER_UNREACHABLE, f"{kit.target} does not answer") from error
    except OSError as error:
        raise Failure(Reason.SERVER_UNREACHABLE, f"{kit.target} cannot be reached: {error}") from error


def _refused_or_garbled(kit: Kit, error: ssl.SSLError) -> Failure:
    """Tell an alert about our certificate from anything else that TLS may stumble over."""
    what = error.reason or str(error)
    if "CERTIFICATE" in what or "UNKNOWN_CA" in what:
        return Failure(
            Reason.CERTIFICATE_REFUSED,
            f"{kit.target} refused the certificate of {kit.participant!r} ({what}); "
            "provision the courier in this server's project, and renew it when it has expired",
            final=True,
        )
    return Failure(Reason.SERVER_UNREACHABLE, f"{kit.target} does not speak TLS as expected: {what}")
