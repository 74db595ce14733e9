"""The `llm-refresh` command. A command's module is loaded when it is called: most need the half second, some do not."""

import gc
import io
import sys
from importlib import import_module

import click

COMMANDS = {
    "up": "local:up",
    "migrate": "migrate:migrate",
    "verify": "catalogue:verify",
    "refresh": "catalogue:refresh",
    "models": "catalogue:models",
    "set": "operators:set_model",
    "set-default": "operators:set_default",
    "runs": "catalogue:list_runs",
    "changes": "operators:list_changes",
    "chat": "chats:chat",
    "chats": "chats:list_chats",
    "callers": "callers:callers",
    "usage": "callers:usage",
    "erase": "erase:erase",
    "keys": "api_keys:keys",
    "webhooks": "webhooks:webhooks",
    "doctor": "doctor:doctor",
    "token": "local:token",
    "local": "local:local",
    "sandbox": "local:sandbox",
}


class CommandGroup(click.Group):
    """The commands above, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        gc.disable()  # what is loaded stays: looking through it again and again takes a fifth of the time
        command: click.Command = getattr(import_module(f"worker.commands.{module}"), name)
        gc.freeze()
        gc.enable()
        return command


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llm-refresh")
def main() -> None:
    """Keeps a list of a gateway's LLMs true, and runs their completions off the request path.

    Exit codes: 0 good, 1 not good, 2 wrong use or settings.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale that lacks a character of a name must not end a command
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
