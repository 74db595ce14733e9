"""Lines of several processes on one stream."""

import io

from worker.local.processes import Output


class Gone(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise BrokenPipeError


def test_each_line_says_who_wrote_it() -> None:
    stream = io.BytesIO()
    output = Output(stream, width=6)
    output.line("web", b"hello")
    output.line("worker", b"\xff not UTF-8 stays as it is")
    output.say("ready: http://127.0.0.1:3002")
    assert stream.getvalue().splitlines() == [
        b"web    | hello",
        b"worker | \xff not UTF-8 stays as it is",
        b"ready: http://127.0.0.1:3002",
    ]


def test_the_loss_of_the_reader_is_told_once_and_ends_nothing() -> None:
    output = Output(Gone(), width=3)  # a raw stream is enough to write to # a raw stream is enough to write to
    notified: list[bool] = []
    output.on_closed = lambda: notified.append(True)
    output.say("one")
    output.line("web", b"two")
    assert notified == [True]
