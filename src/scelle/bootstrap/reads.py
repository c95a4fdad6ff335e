"""Note that content, or what is as telling, is about to be shown to somebody."""

from scelle.bootstrap.session import Session
from scelle.errors import StorageError


def note_shown(session: Session, order: str, what: str, **details: int | str) -> None:
    """Keep who is shown what of an order, before it is shown; raises StorageError: what is not kept is not shown.

    In solo mode, where nobody is answerable to anybody, a warning takes the place of the error.
    """
    try:
        session.note_read(order, what, **details)
    except StorageError as error:
        if not session.is_solo:
            raise
        session.warnings.append(f"that {what} was shown could not be noted: {error}")
