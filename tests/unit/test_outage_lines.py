"""A server that is away is one line in the log of a worker, also where Celery ends for it."""

import logging

from redis.exceptions import ResponseError

from worker.bootstrap import _Outages


def record_of(error: Exception) -> logging.LogRecord:
    return logging.LogRecord(
        "celery.worker",
        logging.CRITICAL,
        __file__,
        1,
        "Unrecoverable error: %r",
        (type(error),),
        (type(error), error, None),
    )


def test_a_worker_that_ends_for_redis_says_why_without_a_traceback() -> None:
    record = record_of(ResponseError("MISCONF Errors writing to the AOF file: No space left on device"))
    assert _Outages().filter(record)
    assert record.exc_info is None
    assert record.getMessage().endswith(": MISCONF Errors writing to the AOF file: No space left on device")


def test_another_error_keeps_its_traceback() -> None:
    record = record_of(ValueError("a defect"))
    assert _Outages().filter(record)
    assert record.exc_info is not None
    assert record.getMessage() == "Unrecoverable error: <class 'ValueError'>"
