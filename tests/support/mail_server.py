"""A real mail server: it keeps what it was sent, wants a login, and refuses as it is told."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from harness.processes import free_port


@dataclass
class MailServer:
    """`refusals` are the answers to the next mails; after them each is taken."""

    port: int
    user: str = "watch"
    password: str = "mail-pa55word"
    refusals: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    def address(self, recipient: str) -> str:
        """As NOTIFY_URLS takes it."""
        login = f"{self.user}:{self.password}@127.0.0.1:{self.port}"
        return f"mailto://{login}?mode=insecure&from=llm-refresh@example.com&to={recipient}"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if not session.authenticated:
            return "530 a login first"
        if self.refusals:
            return self.refusals.pop(0)
        self.recipients.append(envelope.rcpt_tos)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server on a free port of loopback."""
    made = MailServer(free_port())

    def knows(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        expected = LoginPassword(made.user.encode(), made.password.encode())
        return AuthResult(success=data == expected)

    controller = Controller(made, hostname="127.0.0.1", port=made.port, authenticator=knows, auth_require_tls=False)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()
