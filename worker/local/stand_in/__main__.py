"""`python -m worker.local.stand_in`: the stand-in by itself."""

import argparse
import json
from pathlib import Path

from worker.local.stand_in import DEFAULT_API_KEY, DEFAULT_DELAY_SECONDS, PREFIX, default_models, serve


def main() -> None:
    """Read the arguments, serve, and say on one line where."""
    parser = argparse.ArgumentParser(prog="sandbox", description="A stand-in for MatchaAI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--api-key", default=DEFAULT_API_KEY)
    parser.add_argument("--models", type=Path, help="a JSON file with the list, instead of the built-in one")
    parser.add_argument("--delay", type=float, default=DEFAULT_DELAY_SECONDS, help="seconds a completion takes")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever started it")
    arguments = parser.parse_args()
    serve(
        host=arguments.host,
        port=arguments.port,
        api_key=arguments.api_key,
        models=json.loads(arguments.models.read_text()) if arguments.models else default_models(),
        delay=arguments.delay,
        ready=lambda port: print(f"ready: http://{arguments.host}:{port}{PREFIX}", flush=True),  # noqa: T201 (its whole output)
        until_stdin_closes=arguments.until_stdin_closes,
    )


if __name__ == "__main__":
    main()
