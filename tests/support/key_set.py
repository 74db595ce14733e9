"""A key set of a provider of tokens: a real HTTP server, and the keys that sign."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Provider:
    """Signs tokens with a key that its address shows. A context manager.

    `mode`: good, silent (takes connections and says nothing), dripping (a byte a second), broken (500).
    """

    def __init__(self, algorithm: str = "RS256") -> None:
        self.mode = "good"
        self.fetches = 0
        self._go = threading.Event()
        self._algorithm = algorithm
        self._keys: dict[str, Any] = {}
        self.rotate("first")
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                provider._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"

    def rotate(self, key_id: str) -> None:
        """Sign with a new key, and show only that."""
        key = (
            rsa.generate_private_key(65537, 2048)
            if self._algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        self._key_id, self._keys = key_id, {key_id: key}

    def token(self, **claims: Any) -> str:
        """A token of these claims, for ten minutes."""
        key = self._keys[self._key_id]
        return jwt.encode({"exp": int(time.time()) + 600, **claims}, key, self._algorithm, {"kid": self._key_id})

    def _shown(self) -> bytes:
        shown = []
        for key_id, key in self._keys.items():
            public = key.public_key()
            made = RSAAlgorithm.to_jwk(public) if self._algorithm == "RS256" else ECAlgorithm.to_jwk(public)
            shown.append(json.loads(made) | {"kid": key_id, "use": "sig", "alg": self._algorithm})
        return json.dumps({"keys": shown}).encode()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.mode == "silent":
            self._go.wait(60)
            return
        body = self._shown()
        handler.send_response(500 if self.mode == "broken" else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.flush()
        if self.mode != "dripping":
            handler.wfile.write(body)
            return
        for byte in body:
            if self._go.wait(0.5):
                return
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                return

    def __enter__(self) -> "Provider":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._server.shutdown()
        self._server.server_close()
