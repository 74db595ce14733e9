"""The server to compare with: Flask that answers constant bytes, to be run by gunicorn as ours is.

`/constant` answers at once; `/verified` verifies the token of each request with PyJWT before.
"""

import os
from pathlib import Path

import jwt
from flask import Flask, Response, request

BODY_FILE, SECRET = "BENCH_BODY_FILE", "JWT_SECRET"


def main() -> Flask:
    """The application. The bytes are those of the file that the environment names."""
    body, secret = Path(os.environ[BODY_FILE]).read_bytes(), os.environ[SECRET]
    app = Flask(__name__, static_folder=None)

    @app.get("/constant")
    def constant() -> Response:
        return Response(body, content_type="application/json")

    @app.get("/verified")
    def verified() -> Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"], "verify_aud": False})
        return Response(body, content_type="application/json")

    return app
