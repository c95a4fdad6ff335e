"""Say why a value, or a row, does not become part of a record."""


class Unfit(Exception):
    """Carry why a row fits no schema; it never leaves the sources: the row becomes a BadRecord.

    `cause` is a code (`[a-z0-9-]+`), `detail` says what to do and never repeats a value, `field` is the source's
    name of the field, filled in by whoever knows it.
    """

    def __init__(self, cause: str, detail: str, field: str = "") -> None:
        super().__init__(cause, detail, field)
        self.cause = cause
        self.detail = detail
        self.field = field
