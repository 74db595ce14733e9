"""The `llm-refresh` command."""

import click

from worker.commands import catalogue, chats, doctor, local, operators


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llm-refresh")
def main() -> None:
    """Keeps a list of a gateway's LLMs true, and runs their completions off the request path.

    Exit codes: 0 good, 1 not good, 2 wrong use or settings.
    """


for command in (
    local.up,
    catalogue.migrate,
    catalogue.verify,
    catalogue.refresh,
    catalogue.models,
    operators.set_model,
    operators.set_default,
    catalogue.list_runs,
    operators.list_changes,
    chats.chat,
    chats.list_chats,
    doctor.doctor,
    local.token,
    local.local,
    local.sandbox,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
