"""The command `erase`: what a caller asked and was answered goes, the counts stay."""

from __future__ import annotations

import click

from shared.chat import erasure
from worker.commands.context import actor, echo_json, json_option, open_runtime, say


@click.command()
@click.option("--subject", required=True, help="Whose chats: the sub of the caller's tokens.")
@json_option
def erase(subject: str, as_json: bool) -> None:
    """Erase what a caller asked and was answered, for good. Usage figures stay.

    Open chats of the caller are cancelled first. The ledger gets a line: who, when, how many.
    """
    if not subject.strip() or "\x00" in subject:
        raise click.UsageError("--subject: name a caller; `llm-refresh chats` shows whose chats there are")
    with open_runtime(log_level="info") as runtime:
        result = erasure.erase_caller(runtime.database, subject, actor=actor())
        runtime.notifier.notify(result.cancelled)
        erasure.log_erasure(result, actor=actor(), role="service_role")
    if as_json:
        echo_json({"subject": result.subject, "erased": result.erased, "cancelled": len(result.cancelled)})
        return
    if not result.erased:
        say(f"no chat of {subject} is kept that holds any content: nothing was erased")
        return
    chats = "1 chat" if result.erased == 1 else f"{result.erased} chats"
    first = f"; {len(result.cancelled)} open ones were cancelled first" if result.cancelled else ""
    say(f"the content of {chats} of {subject} is erased{first}. Usage figures stay; the ledger has a line")
