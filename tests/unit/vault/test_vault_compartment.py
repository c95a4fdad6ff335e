"""Put in and not read out: the compartment's key, its shares, and streams of ciphertext."""

import os
import threading
from collections.abc import Iterator

import pyrage
import pytest

from scelle.errors import CompartmentWrong, ItemChanged, ShareRefused, SharesWrong
from scelle.vault.compartment import (
    Compartment,
    combined_identity,
    encrypt_share,
    make_compartment,
    open_pieces,
    open_share,
    sealed_pieces,
)

NAMES = ("remy", "rita", "rosa")


@pytest.fixture(scope="module")
def people() -> dict[str, pyrage.x25519.Identity]:
    return {name: pyrage.x25519.Identity.generate() for name in NAMES}


@pytest.fixture(scope="module")
def made(people: dict[str, pyrage.x25519.Identity]) -> Compartment:
    return make_compartment({name: str(each.to_public()) for name, each in people.items()}, 2)


def pieces_of(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def opened(identity: pyrage.x25519.Identity, ciphertext: bytes) -> bytes:
    found: list[bytes] = []
    open_pieces(identity, pieces_of(ciphertext, 70_001), found.append)
    return b"".join(found)


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1, (19 << 20) + 7])
def test_what_goes_in_comes_out_with_the_holders_together(
    size: int, people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    data = os.urandom(size)
    ciphertext = b"".join(sealed_pieces(made.recipient, pieces_of(data)))
    shares = [open_share(made.holder(name).share, people[name]) for name in ("rosa", "remy")]
    assert opened(combined_identity(shares, made.recipient), ciphertext) == data
    assert data == b"" or data[:64] not in ciphertext or size < 64


def test_what_is_kept_of_it_is_read_back_and_has_no_identity(made: Compartment) -> None:
    assert Compartment.from_json(made.to_json()) == made
    assert "AGE-SECRET-KEY" not in str(made.to_json())


def test_one_share_is_not_enough_nor_one_twice_nor_anothers(
    people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    rita = open_share(made.holder("rita").share, people["rita"])
    other = make_compartment({name: str(each.to_public()) for name, each in people.items()}, 2)
    strange = open_share(other.holder("remy").share, people["remy"])
    for shares in ([], [rita], [rita, rita], [rita, strange]):
        with pytest.raises(SharesWrong):
            combined_identity(shares, made.recipient)


def test_a_share_is_its_holders_alone_until_he_gives_it(
    people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    with pytest.raises(ShareRefused, match="somebody else"):
        open_share(made.holder("rita").share, people["remy"])
    share = open_share(made.holder("rita").share, people["rita"])
    given = encrypt_share(share, str(people["remy"].to_public()))
    assert open_share(given, people["remy"]) == share
    with pytest.raises(ShareRefused):
        made.holder("nobody")


def test_a_share_that_was_changed_is_not_taken(
    people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    from dataclasses import replace

    shares = [open_share(made.holder(name).share, people[name]) for name in ("rita", "remy")]
    wrong = replace(shares[1], secret=bytes([shares[1].secret[0] ^ 1]) + shares[1].secret[1:])
    with pytest.raises(SharesWrong, match="not as it was made"):
        combined_identity([shares[0], wrong], made.recipient)


def test_two_holders_with_one_key_and_what_is_no_key_are_refused(
    people: dict[str, pyrage.x25519.Identity],
) -> None:
    one = str(people["rita"].to_public())
    with pytest.raises(CompartmentWrong, match="one recipient"):
        make_compartment({"rita": one, "remy": one}, 2)
    with pytest.raises(CompartmentWrong, match="no age public key"):
        make_compartment({"rita": one, "remy": "ssh-ed25519 AAAA"}, 2)


@pytest.mark.parametrize("before", [0, 3, 12])
def test_what_the_source_raises_is_raised_and_leaves_no_thread(before: int, made: Compartment) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(before):
            yield bytes(1 << 20)
        raise ItemChanged("changed while it was read")

    running = threading.active_count()
    with pytest.raises(ItemChanged):
        list(sealed_pieces(made.recipient, broken()))
    assert threading.active_count() == running


def test_a_stream_that_nobody_wants_any_more_leaves_no_thread(made: Compartment) -> None:
    running = threading.active_count()
    stream = sealed_pieces(made.recipient, pieces_of(bytes(20 << 20)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == running


def test_a_changed_or_cut_ciphertext_does_not_open(
    people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    shares = [open_share(made.holder(name).share, people[name]) for name in NAMES]
    identity = combined_identity(shares, made.recipient)
    ciphertext = b"".join(sealed_pieces(made.recipient, iter([b"a red boat" * 20_000])))
    changed = bytes(
        [ciphertext[-9] ^ 1]
    )  # any fixed byte would be the one that stands there, once in 256 times
    for wrong in (
        ciphertext[:-1],
        ciphertext[:-70_000],
        ciphertext[:-9] + changed + ciphertext[-8:],
        b"boat",
    ):
        with pytest.raises(ShareRefused):
            opened(identity, wrong)


def test_what_the_writer_raises_is_raised(
    people: dict[str, pyrage.x25519.Identity], made: Compartment
) -> None:
    shares = [open_share(made.holder(name).share, people[name]) for name in NAMES]
    ciphertext = b"".join(sealed_pieces(made.recipient, iter([b"a red boat"])))

    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        open_pieces(combined_identity(shares, made.recipient), iter([ciphertext]), full)
