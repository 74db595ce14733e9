"""Whose certificates are believed when a call goes out."""

import ssl
from functools import cache

import certifi


@cache
def ssl_context() -> ssl.SSLContext:
    """A context that checks certificates and names against those this machine trusts, and the public ones of certifi.

    OpenSSL's variables SSL_CERT_FILE and SSL_CERT_DIR name others than the machine's: so a company's authority is made
    known (source: OpenSSL's manual, X509_get_default_cert_file). Making a context takes about 20 ms: a process makes
    one, and what changes on disk later is read by the next process.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # some images and macOS have none where OpenSSL looks
    return context
