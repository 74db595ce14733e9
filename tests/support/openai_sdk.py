"""OpenAI's SDK, loaded when a name of it is first used: loading takes long, and each process collects every test."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        import openai

        return getattr(openai, name)
