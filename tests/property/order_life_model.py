"""Say naively what each order claims, has sealed and lets go of: what `test_order_life` compares a vault with.

Nothing here knows of compiled clauses, logs or catalogs. Times in microseconds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from scelle.orders.lifecycle import State

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Item:
    """One document or record of a source; it never changes. `account` is None where nobody knows whose it is."""

    source: str
    native: str
    account: str | None
    time_us: int
    text: str
    is_record: bool = False


class Says(StrEnum):
    """What a clause says of an item."""

    NO = "no"
    PERHAPS = "perhaps"
    YES = "yes"


@dataclass(frozen=True)
class Scope:
    """A clause: of these sources, in this folder, of these accounts, before this instant, with this word in it."""

    id: str
    sources: tuple[str, ...]
    folder: str | None = None
    accounts: frozenset[str] = frozenset()
    before_us: int | None = None
    word: str | None = None
    carves: bool = False

    def says(self, item: Item, *, is_read: bool) -> Says:
        """Judge an item; of a record that was not read nobody knows the text."""
        if item.source not in self.sources:
            return Says.NO
        if self.before_us is not None and item.time_us >= self.before_us:
            return Says.NO
        if self.folder is not None and not item.native.startswith(f"{self.folder}/"):
            return Says.NO
        perhaps = False
        if self.accounts:
            if item.account is not None and item.account not in self.accounts:
                return Says.NO
            perhaps = item.account is None
        if self.word is not None:
            if is_read and self.word not in item.text:
                return Says.NO
            perhaps = perhaps or not is_read
        return Says.PERHAPS if perhaps else Says.YES

    def toml(self) -> str:
        """Write the clause as an order's file has it."""
        lines = ["[[clause]]", f'id = "{self.id}"', f"sources = {list(self.sources)}"]
        if self.folder is not None:
            lines.append(f'paths = ["{self.folder}/**"]')
        if self.accounts:
            lines.append(f"accounts = {sorted(self.accounts)}")
        if self.before_us is not None:
            lines.append(f"to = {utc(self.before_us)}")
        if self.word is not None:
            lines += ["[clause.match]", f'text = "{self.word}"']
        return "\n".join(lines) + "\n"


def utc(us: int) -> str:
    """Write whole seconds since 1970 as a date-time."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_covered(scopes: Iterable[Scope], item: Item, *, is_read: bool = True) -> bool:
    """Tell whether a clause covers an item, perhaps or surely, and no carve-out surely takes it out."""
    said = [(scope, scope.says(item, is_read=is_read)) for scope in scopes]
    is_out = any(scope.carves and each is Says.YES for scope, each in said)
    return not is_out and any(not scope.carves and each is not Says.NO for scope, each in said)


@dataclass
class ModelOrder:
    """What must be true of one order."""

    until_us: int | None
    scopes: list[tuple[Scope, bool]]
    """Every clause that it ever had, and whether it still grows."""
    sources: list[str]
    sealed: set[Item] = field(default_factory=set)
    quarantined: set[Item] = field(default_factory=set)
    lifted: bool = False
    annulled: bool = False
    released_us: int | None = None
    disposed: bool = False
    gaps: int = 0
    """Intervals without an order that an extension closed."""
    acts: int = 0
    """What happened to its terms and clauses: a release is of the order as it was when it was asked for."""

    def state(self, now_us: int) -> State:
        """Return where the order stands."""
        if self.disposed:
            return State.DISPOSED
        if self.released_us is not None:
            return State.RELEASED
        if self.annulled or self.lifted:
            return State.ANNULLED if self.annulled else State.LIFTED
        is_over = self.until_us is not None and now_us >= self.until_us
        return State.LAPSED if is_over else State.IN_FORCE

    @property
    def holds(self) -> bool:
        """Tell whether it still holds: no clock ends that."""
        return self.released_us is None and not self.disposed

    @property
    def growing(self) -> dict[str, Scope]:
        """Return the clauses that grow, by id."""
        return {scope.id: scope for scope, grows in self.scopes if grows}

    def applied(self, new: Collection[Scope], stop: Collection[str] = ()) -> list[Scope]:
        """Return the clauses that would grow."""
        gone = {scope.id for scope in new} | set(stop)
        return [*(scope for scope in self.growing.values() if scope.id not in gone), *new]

    def amend(self, new: Collection[Scope], stop: Collection[str] = ()) -> None:
        """Stop clauses, and put new ones beside or in the place of those of the same id."""
        fresh = [scope for scope in new if self.growing.get(scope.id) != scope]
        gone = {scope.id for scope in fresh} | set(stop)
        self.scopes = [(scope, grows and scope.id not in gone) for scope, grows in self.scopes]
        self.scopes += [(scope, True) for scope in fresh]
        named = sorted({name for scope in new for name in scope.sources} - set(self.sources))
        self.sources += named
        self.acts += 1

    def covers(self, item: Item, *, is_read: bool = True) -> bool:
        """Tell whether its growing clauses claim an item of the live system."""
        return self.holds and is_covered(self.growing.values(), item, is_read=is_read)

    def keeps(self, item: Item) -> dict[str | None, bool]:
        """Return what holds an item of which a copy is sealed: clauses, and whether each still grows over it."""
        if not self.holds:
            return {}
        is_sealed, is_claimed = item in self.sealed, self.covers(item)
        found: dict[str | None, bool] = {}
        for scope, grows in self.scopes:
            if not scope.carves and scope.says(item, is_read=True) is not Says.NO:
                is_growing = grows and is_claimed
                if is_growing or is_sealed:
                    found[scope.id] = found.get(scope.id, False) or is_growing
        return found or ({None: False} if is_sealed else {})


@dataclass(frozen=True)
class Shift:
    """What an amendment changes: items that join, stay, stop, and that are sealed and grow no longer."""

    join: int
    stay: int
    stop: int
    sealed: int

    @classmethod
    def of(
        cls, order: ModelOrder, after: Sequence[Scope], offered: Iterable[Item], *, counts_sealed: bool
    ) -> "Shift":
        """Judge everything that is offered, and sealed, before and after."""
        before = list(order.growing.values())
        pairs = [(is_covered(before, item), is_covered(after, item)) for item in offered]
        kept = [item for item in order.sealed if is_covered(before, item) and not is_covered(after, item)]
        return cls(
            pairs.count((False, True)),
            pairs.count((True, True)),
            pairs.count((True, False)),
            len(kept) if counts_sealed else 0,
        )


@dataclass
class Pending:
    """A request that loosens: what it was asked over, and when it may be carried out."""

    id: str
    kind: str
    order: str
    ready_us: int
    expires_us: int
    new: tuple[Scope, ...] = ()
    stop: tuple[str, ...] = ()
    before: Mapping[str, Scope] = field(default_factory=dict)
    items: frozenset[Item] = frozenset()
    asked_of: tuple[State, int] | None = None
    is_approved: bool = False

    def is_overtaken(self, order: ModelOrder, now_us: int) -> bool:
        """Tell whether what it touches is neither as it was nor as it is to be, or whether no claim would be left."""
        if order.state(now_us) not in (State.IN_FORCE, State.LAPSED):
            return True
        growing, wanted = order.growing, {scope.id: scope for scope in self.new}
        claims = {name for name, scope in growing.items() if not scope.carves}
        if claims and claims <= set(self.stop):
            return True
        return any(
            growing.get(name) not in (self.before.get(name), wanted.get(name))
            for name in (*self.stop, *wanted)
        )


def narrower(scope: Scope, middle_us: int, documents: Collection[str]) -> list[Scope]:
    """Return clauses that plainly cover less than one."""
    found = [replace(scope, before_us=middle_us)] if scope.before_us is None else []
    if scope.folder is None and set(scope.sources) <= set(documents):
        found.append(replace(scope, folder="a"))
    if len(scope.accounts) > 1:
        found.append(replace(scope, accounts=frozenset(sorted(scope.accounts)[:-1])))
    if len(scope.sources) > 1:
        found.append(replace(scope, sources=scope.sources[:-1]))
    return found


def wider(scope: Scope, sources: Collection[str]) -> list[Scope]:
    """Return clauses that plainly cover more than one."""
    found = [replace(scope, before_us=None)] if scope.before_us is not None else []
    if scope.folder is not None:
        found.append(replace(scope, folder=None))
    if scope.accounts:
        found += [replace(scope, accounts=frozenset()), replace(scope, accounts=scope.accounts | {"u9"})]
    if missing := sorted(set(sources) - set(scope.sources)):
        found.append(replace(scope, sources=(*scope.sources, missing[0])))
    return found
