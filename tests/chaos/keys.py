"""Tokens of several callers, and the key set that they are verified with: a real HTTP server that can fall silent."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa


class KeyServer:
    """Serves a JSON Web Key Set on 127.0.0.1; a context manager."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        body = json.dumps({"keys": [public | {"kid": "chaos", "alg": "RS256", "use": "sig"}]}).encode()
        self._speaks = threading.Event()
        self._speaks.set()
        speaks = self._speaks

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                speaks.wait(60)
                with contextlib.suppress(ConnectionError):  # who asked has given up meanwhile
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: the run prints its own lines."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def be_silent(self) -> None:
        """Take connections from now on, and answer none."""
        self._speaks.clear()

    def speak(self) -> None:
        """Answer again, those that wait included."""
        self._speaks.set()

    def token(self, subject: str, role: str = "authenticated") -> str:
        """A token that holds for an hour."""
        claims = {"sub": subject, "role": role, "exp": time.time() + 3600, "jti": str(time.monotonic_ns())}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "chaos"})

    def foreign_token(self) -> str:
        """A token of a key that the set does not have: each asks the verifier to look at the set again."""
        claims = {"sub": "mallory", "role": "service_role", "exp": time.time() + 3600}
        return jwt.encode(claims, self._foreign, algorithm="RS256", headers={"kid": f"foreign-{time.monotonic_ns()}"})

    def __enter__(self) -> KeyServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.speak()
        self._server.shutdown()
        self._server.server_close()
