"""Requests to the Hugging Face hub that fail at once if it does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def asked_once() -> Iterator[None]:
    """Let the hub's client look for files only on this disk if the hub does not answer its first request.

    The client would repeat each request five times, which takes 24 seconds a file. If the hub answers, the client works
    as usual.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    session: Any = get_session()
    if not isinstance(hooks := getattr(session, "event_hooks", None), dict):
        yield  # earlier versions of the client repeat nothing
        return
    known = dict[str, bool]()  # whether each host answers

    def check(request: Any) -> None:
        host, address = request.url.host, str(request.url.join("/"))
        if host not in known:
            known[host] = True  # the request below comes here, too
            try:
                session.head(address, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            except Exception:  # of the client's own classes, which versions name differently
                known[host] = False
        if not known[host]:
            raise OfflineModeIsEnabled(f"{host} does not answer")

    before = hooks["request"]
    session.event_hooks = {**hooks, "request": [*before, check]}
    try:
        yield
    finally:
        session.event_hooks = hooks
