"""Celery: processes (prefork) or threads, as its command line says. Late acknowledgement: a killed run comes back."""

from celery import Celery

from benchmarks.peers import work

app = Celery("reference", broker=work.BROKER, backend=work.BROKER)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="reference.run")
def run(message: str) -> str:
    """One run."""
    return work.complete(message)


def submit(messages: list[str]) -> None:
    """Queue runs."""
    for message in messages:
        run.delay(message)
