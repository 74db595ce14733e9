"""Calls one function in this fresh interpreter: `python -m bench.alone module:function '{"argument": 1}'`."""

from __future__ import annotations

import importlib
import json
import sys

from shared.logs import configure


def main() -> None:
    configure(as_json=True, level="error", process="bench", stream=sys.stderr)
    module, _, name = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
