"""Write the invented orders of the demo's acts."""

import datetime as dt


def order_text(order: str, matter: str, reference: str, clause: str) -> str:
    """Return an order file in force for a year from today; `clause` is the lines of its one clause."""
    today = dt.datetime.now(dt.UTC).date()
    return f"""\
[order]
id = "{order}"
matter = "{matter}"
type = "dsa-retention"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "{reference}"
issued = {today}
received = {today}T00:00:01Z
until = {today + dt.timedelta(days=365)}
zone = "Europe/Brussels"
temporal = "both"
notify = "permitted"

[[clause]]
{clause}
"""
