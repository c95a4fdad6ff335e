"""Read several databases of one shape as one source: the shards of a service."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scelle.errors import InputError, SourceError
from scelle.scope.pushdown import Pushdown
from scelle.sources.interfaces import BadRecord, Batch, Member, Record, Trouble, Unit
from scelle.sources.postgres.source import PostgresSource, TableCount


class ShardedSource:
    """Offer the tables of every shard; the native ids of units and records begin with the shard's name and `/`.

    Tables of the same name and the same columns are one member. Where a shard's differ, its member is named
    `shard/table`. Each shard has a snapshot of its own: no instant is common to all. A shard that cannot be reached is
    a Trouble, `unreachable`, and the others go on.
    """

    def __init__(self, shards: Sequence[PostgresSource]) -> None:
        """Join shards; raises InputError where their settings give no names, or one twice."""
        names = [source.settings.shard for source in shards]
        if not all(names) or len(set(names)) != len(names) or any("/" in name for name in names):
            raise InputError("shards: give each a name of its own, not empty and without /")
        self._shards = dict(zip(names, shards, strict=True))
        self._named: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        """Let all snapshots go."""
        for source in self._shards.values():
            source.close()

    def test(self) -> None:
        """Raise the error of the first shard that cannot be read."""
        for source in self._shards.values():
            source.test()

    def members(self) -> Sequence[Member]:
        """List the members of all shards that can be reached, each once."""
        found: dict[str, Member] = {}
        for shard, source in self._shards.items():
            try:
                members = source.members()
            except SourceError:
                continue  # `units` says so
            for member in members:
                first = found.setdefault(member.name, member)
                is_same = (first.schema, first.profile) == (member.schema, member.profile)
                name = member.name if is_same else f"{shard}/{member.name}"
                self._named[shard, member.name] = name
                if not is_same:
                    found[name] = replace(member, name=name)
        return list(found.values())

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate the units of each shard, one shard after the other."""
        self.members()
        for shard, source in self._shards.items():
            native = f"{shard}/".encode()
            try:
                for unit in source.units():
                    yield unit if isinstance(unit, Trouble) else self._renamed_unit(shard, unit)
            except SourceError:
                yield Trouble(native, native, "unreachable")

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read a unit of the shard that its native id begins with."""
        shard = unit.native.decode("utf-8").partition("/")[0]
        for batch in self._shards[shard].read(unit, mark):
            yield self._renamed_batch(shard, batch)

    @property
    def shows_queries(self) -> bool:
        """Tell that the servers' people see what they are asked."""
        return True

    def read_pushed_down(self, unit: Unit, mark: bytes, pushdown: Pushdown) -> Iterator[Batch]:
        """Read a unit without rows that no clause covers, as its shard does."""
        shard = unit.native.decode("utf-8").partition("/")[0]
        for batch in self._shards[shard].read_pushed_down(unit, mark, pushdown):
            yield self._renamed_batch(shard, batch)

    def waiting(self, unit: Unit) -> str | None:
        """Say that nothing waits: a table is read whole."""
        return None

    def counts(self) -> Mapping[str, TableCount]:
        """Give rows read and counted by `shard/table`."""
        return {
            f"{shard}/{text}": count
            for shard, source in self._shards.items()
            for text, count in source.counts().items()
        }

    def warnings(self) -> Sequence[str]:
        """Say what to know of the server of each shard that can be reached."""
        found: list[str] = []
        for source in self._shards.values():
            try:
                found += source.warnings()
            except SourceError:
                continue  # `units` says so
        return found

    def _renamed_unit(self, shard: str, unit: Unit) -> Unit:
        return unit._replace(members=tuple(self._named[shard, name] for name in unit.members))

    def _renamed_batch(self, shard: str, batch: Batch) -> Batch:
        def renamed(record: Record | BadRecord) -> Record | BadRecord:
            if isinstance(record, BadRecord):
                return record
            return record._replace(member=self._named[shard, record.member])

        first = next((each for each in batch.records if isinstance(each, Record)), None)
        if first is None or self._named[shard, first.member] == first.member:
            return batch
        return batch._replace(records=[renamed(record) for record in batch.records])
