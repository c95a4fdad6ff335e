"""Ed25519 and ML-DSA-44 in the single file: what must verify does, and nothing else (RFC 8032, FIPS 204)."""

import hashlib
import random
import struct

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from scelle.verify import scelle_verify as v

# RFC 8032 §7.1, tests 1 to 3 and SHA(abc)
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_examples_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, text, sig = (bytes.fromhex(part) for part in (public, message, signature))
    assert v.ed25519_verify(key, text, sig)
    assert not v.ed25519_verify(key, text + b"x", sig)
    assert not v.ed25519_verify(key, text, sig[:-1])
    assert not v.ed25519_verify(key, text, sig + b"\0")
    assert not v.ed25519_verify(key[:-1], text, sig)


def test_s_must_be_below_the_order() -> None:
    key, sig = bytes.fromhex(RFC_8032[0][0]), bytes.fromhex(RFC_8032[0][2])
    s = int.from_bytes(sig[32:], "little")
    for multiple in range(1, 15):
        if s + multiple * v.L < 2**256:
            assert not v.ed25519_verify(key, b"", sig[:32] + (s + multiple * v.L).to_bytes(32, "little"))
    assert not v.ed25519_verify(key, b"", sig[:32] + (v.L).to_bytes(32, "little"))


# the eight points of small order, and encodings of them that are not canonical
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("public", SMALL)
def test_keys_of_small_order_verify_nothing(public: str) -> None:
    key = bytes.fromhex(public)
    for r in SMALL[:4]:
        assert not v.ed25519_verify(key, b"any message", bytes.fromhex(r) + bytes(32))


def test_points_have_one_encoding() -> None:
    assert v.point_decode(bytes.fromhex(SMALL[1])) is None  # sign on x = 0
    for text in SMALL[10:]:
        assert v.point_decode(bytes.fromhex(text)) is None  # y >= p
    for text in (SMALL[0], SMALL[2], SMALL[4], SMALL[5], SMALL[6], SMALL[7]):
        point = v.point_decode(bytes.fromhex(text))
        assert point is not None
        assert v.point_encode(point) == bytes.fromhex(text)
    assert v.point_decode((2).to_bytes(32, "little")) is None  # not on the curve
    assert v.point_encode(v.point_double(v.BASE)) == v.point_encode(v.point_add(v.BASE, v.BASE))


def test_r_is_compared_as_bytes() -> None:
    """[S]B = R + [k]A with R the identity in another encoding: accepted by lax verifiers, refused here."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    digest = bytearray(hashlib.sha512(bytes(range(32))).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    secret = int.from_bytes(digest, "little")
    for encoding, good in ((SMALL[0], True), (SMALL[1], False), (SMALL[11], False)):
        r = bytes.fromhex(encoding)
        k = int.from_bytes(hashlib.sha512(r + public + b"m").digest(), "little") % v.L
        assert v.ed25519_verify(public, b"m", r + (k * secret % v.L).to_bytes(32, "little")) is good


def test_ed25519_agrees_with_another_implementation() -> None:
    chance = random.Random(8032)
    for number in range(40):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, message = private.public_key(), chance.randbytes(number)
        signature = bytearray(private.sign(message))
        assert v.ed25519_verify(public.public_bytes_raw(), message, bytes(signature))
        signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        assert not v.ed25519_verify(public.public_bytes_raw(), message, bytes(signature))
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(public.public_bytes_raw()).verify(bytes(signature), message)


# -- ML-DSA-44 -------------------------------------------------------------------------------------------

PRIVATE = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
MESSAGE = b"a checkpoint"
SIGNATURE = PRIVATE.sign(MESSAGE)


def test_ml_dsa_44_agrees_with_another_implementation() -> None:
    chance = random.Random(204)
    for number in range(20):
        private = MLDSA44PrivateKey.from_seed_bytes(chance.randbytes(32))
        public, message = private.public_key().public_bytes_raw(), chance.randbytes(7 * number)
        signature = bytearray(private.sign(message))
        assert v.mldsa44_verify(public, message, bytes(signature))
        assert not v.mldsa44_verify(public, message + b"x", bytes(signature))
        signature[chance.randrange(2420)] ^= 1 << chance.randrange(8)
        assert not v.mldsa44_verify(public, message, bytes(signature))


def test_ml_dsa_44_with_a_context_is_another_signature() -> None:
    assert not v.mldsa44_verify(PUBLIC, MESSAGE, PRIVATE.sign(MESSAGE, b"context"))
    assert v.mldsa44_verify(PUBLIC, MESSAGE, PRIVATE.sign(MESSAGE, b""))


def test_widths_of_ml_dsa_44() -> None:
    assert v.mldsa44_verify(PUBLIC, MESSAGE, SIGNATURE)
    for public, signature in (
        (PUBLIC[:-1], SIGNATURE),
        (PUBLIC + b"\0", SIGNATURE),
        (PUBLIC, SIGNATURE[:-1]),
        (PUBLIC, SIGNATURE + b"\0"),
        (PUBLIC, b""),
    ):
        assert not v.mldsa44_verify(public, MESSAGE, signature)


def with_z(coefficient: int, place: int) -> bytes:
    """The signature with one coefficient of z set."""
    start = 32 + 576 * (place // 256)
    packed = int.from_bytes(SIGNATURE[start : start + 576], "little")
    shift = 18 * (place % 256)
    packed = packed & ~(((1 << 18) - 1) << shift) | (v.GAMMA1 - coefficient) << shift
    return SIGNATURE[:start] + packed.to_bytes(576, "little") + SIGNATURE[start + 576 :]


@pytest.mark.parametrize("coefficient", [v.GAMMA1 - v.BETA, v.GAMMA1, -(v.GAMMA1 - v.BETA), -v.GAMMA1 + 1])
@pytest.mark.parametrize("place", [0, 255, 256, 1023])
def test_the_norm_of_z_is_bounded(coefficient: int, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    signature = with_z(coefficient, place)
    monkeypatch.setattr(
        v, "expand_key", lambda public: pytest.fail("the norm is checked before the equation")
    )
    assert not v.mldsa44_verify(PUBLIC, MESSAGE, signature)


def test_a_z_inside_the_bound_reaches_the_equation() -> None:
    assert not v.mldsa44_verify(PUBLIC, MESSAGE, with_z(v.GAMMA1 - v.BETA - 1, 7))


HINT = SIGNATURE[2336:]
ENDS = list(HINT[80:])


def hint(places: list[int], ends: list[int]) -> bytes:
    return bytes(places + [0] * (80 - len(places)) + ends)


MALFORMED = [
    ("ends that fall", hint([1, 2, 3], [3, 2, 3, 3])),
    ("an end over omega", hint([1], [1, 1, 1, 81])),
    ("places that do not rise", hint([5, 5], [2, 2, 2, 2])),
    ("places that fall", hint([6, 5], [0, 2, 2, 2])),
    ("a place after the last end", hint([1, 2, 3], [1, 1, 1, 2])),
    ("something in the padding", bytes(79) + b"\1" + bytes(4)),
]


@pytest.mark.parametrize("data", [row[1] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_a_malformed_hint_is_refused(data: bytes) -> None:
    assert v.unpack_hint(data) is None
    assert not v.mldsa44_verify(PUBLIC, MESSAGE, SIGNATURE[:2336] + data)


def test_a_well_formed_hint_has_one_form() -> None:
    parts = v.unpack_hint(HINT)
    assert parts is not None
    again = hint([place for part in parts for place in sorted(part)], ENDS)
    assert again == HINT
    assert v.unpack_hint(hint([5, 6, 5], [2, 2, 3, 3])) == [{5, 6}, set(), {5}, set()]
    assert v.unpack_hint(hint(list(range(80)), [80, 80, 80, 80])) is not None


def test_the_transform_is_its_own_inverse_and_multiplies() -> None:
    chance = random.Random(41)
    a = [chance.randrange(v.Q) for _ in range(256)]
    assert v.inverse_ntt([x % v.Q for x in v.ntt(a)]) == a
    b = [chance.randrange(v.Q) for _ in range(256)]
    product = [0] * 256
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            sign = 1 if i + j < 256 else -1
            product[(i + j) % 256] = (product[(i + j) % 256] + sign * x * y) % v.Q
    fast = v.inverse_ntt([x * y % v.Q for x, y in zip(v.ntt(a), v.ntt(b), strict=True)])
    assert fast == product


def test_use_hint_at_the_borders() -> None:
    for r in (
        0,
        1,
        v.GAMMA2 - 1,
        v.GAMMA2,
        v.GAMMA2 + 1,
        2 * v.GAMMA2,
        v.Q - 1,
        v.Q - v.GAMMA2,
        v.Q - v.GAMMA2 - 1,
    ):
        assert 0 <= v.use_hint(False, r) < 44
        difference = (v.use_hint(True, r) - v.use_hint(False, r)) % 44
        assert difference in (1, 43)
    assert v.use_hint(False, v.Q - 1) == 0
    assert v.use_hint(True, v.Q - 1) == 43
    assert v.use_hint(True, 1) == 1


def test_the_dilithium_reference_agrees() -> None:
    dilithium = pytest.importorskip("dilithium_py.ml_dsa", reason="dilithium-py is not installed")
    public, secret = dilithium.ML_DSA_44.keygen()
    signature = dilithium.ML_DSA_44.sign(secret, MESSAGE)
    assert v.mldsa44_verify(public, MESSAGE, signature)
    assert not v.mldsa44_verify(public, MESSAGE + b"!", signature)


# -- notes ------------------------------------------------------------------------------------------------


def test_which_line_belongs_to_which_key() -> None:
    from tests.unit.verify.builder import LOG1, LOG6, ORIGIN, WITNESS, checkpoint_text, note

    text = checkpoint_text(3, bytes(32))
    keys = [v.parse_vkey(key.vkey, "key") for key in (LOG1, LOG6, WITNESS)]
    point = v.parse_checkpoint(text)
    assert point == (ORIGIN, 3, bytes(32))
    parsed = v.parse_note(note(text, [LOG1, LOG6, WITNESS], 77))
    faults, good = v.check_signatures(parsed, keys[:2], keys[2:], point, "c")
    assert faults == []
    assert [(key.kind, time) for key, time in good] == [(1, 0), (6, 77), (4, 77)]
    faults, good = v.check_signatures(v.parse_note(note(text, [LOG1])), keys[:2], keys[2:], point, "c")
    assert [fault.code for fault in faults] == ["c_missing"]
    assert [key.kind for key, _ in good] == [1]


@pytest.mark.parametrize("size", [0, 63, 65, 71, 73, 2427, 2429])
def test_payloads_of_another_width_are_wrong(size: int) -> None:
    from tests.unit.verify.builder import LOG1, LOG6, WITNESS, b64, checkpoint_text

    text = checkpoint_text(3, bytes(32))
    point = v.parse_checkpoint(text)
    for key in (LOG1, LOG6, WITNESS):
        if size:
            line = f"— {key.name} {b64(key.key_id + bytes(size))}\n".encode()
            parsed = v.parse_note(text + b"\n" + line)
            faults, good = v.check_signatures(parsed, [v.parse_vkey(key.vkey, "key")], [], point, "c")
            assert [fault.code for fault in faults] == ["c_wrong"]
            assert good == []


def test_an_ml_dsa_line_binds_time_name_origin_and_size() -> None:
    from tests.unit.verify.builder import LOG6, ORIGIN, b64, checkpoint_text, note

    text = checkpoint_text(3, bytes(32))
    key = v.parse_vkey(LOG6.vkey, "key")
    parsed = v.parse_note(note(text, [LOG6], 77))
    payload = parsed.signatures[0][2]
    good = v.Checkpoint(ORIGIN, 3, bytes(32))
    assert v.signature_fault(key, payload, parsed, good) is None
    for point in (good._replace(size=4), good._replace(origin="o"), good._replace(root=b"\1" * 32)):
        assert v.signature_fault(key, payload, parsed, point) is not None
    assert v.signature_fault(key, struct.pack(">Q", 78) + payload[8:], parsed, good) is not None
    assert v.signature_fault(key._replace(name="other"), payload, parsed, good) is not None
    assert v.signature_fault(key, payload, parsed, None) is not None
    with pytest.raises(v.Fault):
        v.signature_fault(key, payload, parsed, good._replace(origin="o" * 256))
    assert b64(payload)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "+00000000+AQ==",
        "na me+00000000+AQ==",
        "na\u00a0me+00000000+AQ==",
        "na\u202eme+00000000+AQ==",
        "name+00000000+",
        "name+00000000+Ag==",
        "name+0000000+AQ==",
        "name+00000000+!",
        5,
    ],
)
def test_what_is_no_verifier_key(text: object) -> None:
    with pytest.raises(v.Fault):
        v.parse_vkey(text, "key")


def test_names_of_keys_may_be_of_any_language() -> None:
    from tests.unit.verify.builder import checkpoint_text, make_key, note

    key = make_key("autorité.example/sceau", 4, "é")
    text = checkpoint_text(3, bytes(32))
    parsed = v.parse_note(note(text, [key], 5))
    faults, good = v.check_signatures(parsed, [v.parse_vkey(key.vkey, "key")], [], None, "c")
    assert faults == []
    assert good[0][1] == 5
    for name in ("a+b", "a\u00a0b", "\u202ea", "\x1b"):
        with pytest.raises(v.Fault):
            v.parse_note(text + f"\n— {name} AAAAAAA=\n".encode())


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("", b"\1" + bytes(32), "key.format"),
        ("a b", b"\1" + bytes(32), "key.format"),
        ("a\u00a0b", b"\4" + bytes(32), "key.format"),
        ("a\x1bb", b"\4" + bytes(32), "key.format"),
        ("a", b"\1" + bytes(31), "format.width"),
        ("a", b"\4" + bytes(33), "format.width"),
        ("a", b"\6" + bytes(1311), "format.width"),
        ("a", b"\2" + bytes(32), "key.format"),
        ("a", b"", "key.format"),
    ],
)
def test_a_key_whose_id_is_right_and_which_is_wrong(name: str, raw: bytes, code: str) -> None:
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    with pytest.raises(v.Fault) as caught:
        v.parse_vkey(f"{name}+{key_id}+{v.b64(raw)}", "key")
    assert caught.value.code == code
