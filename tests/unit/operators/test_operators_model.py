import pytest

from scelle.operators.model import Power, Role, may

SEES = {Power.SEE_ORDERS, Power.SEE_COUNTS}
TABLE = {
    Role.COUNSEL: set(Power) - {Power.OPEN_RESTRICTED},
    Role.ENGINEER: SEES | {Power.CAPTURE},
    Role.REVIEWER: SEES | {Power.READ_CONTENT, Power.PRODUCE},
    Role.RESTRICTED_REVIEWER: SEES | {Power.OPEN_RESTRICTED, Power.REQUEST, Power.APPROVE},
    Role.PRIVACY: SEES | {Power.ERASURE, Power.REPORT},
    Role.AUDITOR: SEES | {Power.REPORT},
}


@pytest.mark.parametrize("power", Power, ids=lambda power: power.name)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_what_each_role_may_do(role: Role, power: Power) -> None:
    assert may(role, power) is (power in TABLE[role])


def test_nobody_who_sees_all_events_reads_content_and_nobody_alone_opens_what_is_restricted() -> None:
    assert not may(Role.AUDITOR, Power.READ_CONTENT)
    assert not may(Role.ENGINEER, Power.READ_CONTENT)
    assert not may(Role.ENGINEER, Power.AMEND)
    assert [role for role in Role if may(role, Power.OPEN_RESTRICTED)] == [Role.RESTRICTED_REVIEWER]
