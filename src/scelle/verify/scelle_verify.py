#!/usr/bin/env python3
"""Check a Scellé production package with this file alone: ``python3 -I scelle_verify.py PACKAGE --trust FILE``.

This is the receiver's side. It needs Python 3.9 or later, no network, no account and no other file of Scellé.
It is meant to be read from top to bottom. Parts 1 to 8 are the tools (encodings, hashes, signatures, formats),
part 9 is the examination itself in numbered steps, part 10 prints what was found. The specification is the page
"Ledger and proofs: the byte-exact specification, v1"; signs like §7 below are its sections.

What is ESTABLISHED when the last line says VALID (by chains of hashes that all begin in the trust file):
  * the log is the one the trust file names, signed by its keys, and contains every state the receiver held before;
  * every segment of the log that the query touches was searched, or left out on its manifest's word (and counted),
    or could not be searched by this dimension (and counted);
  * in each searched segment the range of entries is whole: nothing was taken out between two neighbours;
  * every hit is produced, withheld with a reason, or erased under a tombstone: three sums close;
  * every byte shown of a produced record, and every item, is what was sealed.

What is NOT established, ever:
  * that something which never reached a recorder did not exist;
  * that a record was filed under the right account or time when it was sealed, unless it is opened;
  * what a withheld or redacted part contains, and that the reason given for it is a good one;
  * anything about time-stamp tokens (they are listed; `openssl ts -verify` checks them) or about the load file in
    the package (bound by MANIFEST only; --write-loadfile makes one from the proven bytes).

Exit code: 0 valid; 1 not valid (also without --trust: then only inner consistency is shown, and nothing is proven
against the one who made the package); 2 the package's directory, the trust file or another file given on the
command line cannot be read, or what was to be written cannot be written: one line says which.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import functools
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import zlib
from typing import (
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    TextIO,
    Tuple,
)

# Limits: nothing in a package may make this program use more than a known amount of memory or time.
MAX_FINDINGS = 10_000
MAX_MEMBERS = 1 << 21
MAX_DIRECTORY = 1 << 30
MAX_MANIFEST = 1 << 28
MAX_NOTE = 1 << 20
MAX_VERDICT = 1 << 26
MAX_JSON_DOCUMENT = 1 << 20
MAX_SCHEMA = 65_536
MAX_LINE = 64 << 20
MAX_VALUE = 16 << 20
MAX_ENTRY = 65_535
MAX_STRUCTURE_DEPTH = 256
MAX_RECORDS = 1 << 20
CHUNK = 1 << 20

MIN_TIME = -(2**63) + 1
MAX_TIME = 2**63 - 1
UNDATED = -(2**63)
HOUR = 3_600_000_000
OPEN_AFTER = 2 * HOUR
PROOF_LINE = b"c2sp.org/tlog-proof@v1\n"  # the first line of a C2SP tlog-proof
# RFC 8785 bytes of the built-in schema scelle.document v1, whose field `chunks` names no item (§2)
DOCUMENT_V1 = "c2140841615c2ae3d4bbf684de3a9305b2dc8b67ffa4005e901a7a8bd89086ee"


# ======================================================================================================
# Part 1. Findings. Every fault is collected with a code, the place and what was wrong; none stops the rest.
# ======================================================================================================


class Fault(Exception):
    """Say that something is not as it must be; becomes a finding at the place where it is caught."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Unreadable(Exception):
    """Say that a file named on the command line, or the output, cannot be read or written at all (exit code 2)."""


def ascii_only(text: object) -> str:
    """Return text from a package as escaped ASCII, at most 400 characters of it: it cannot play with a terminal."""
    whole = str(text)
    return whole[:400].encode("unicode_escape").decode() + (".." if len(whole) > 400 else "")


class Findings:
    """Collect every fault; the list is limited, the count is not."""

    def __init__(self) -> None:
        self.listed: List[Dict[str, str]] = []
        self.count = 0

    def add(self, code: str, subject: str, detail: str) -> None:
        """Add one fault."""
        self.count += 1
        if self.count <= MAX_FINDINGS:
            self.listed.append({"code": code, "subject": ascii_only(subject), "detail": ascii_only(detail)})

    def at(self, subject: str) -> Place:
        """Return a context in which every exception becomes a finding about this subject."""
        return Place(self, subject)


class Place:
    """Turn an exception into a finding. A traceback is never an answer, and neither is silence."""

    def __init__(self, findings: Findings, subject: str) -> None:
        self.findings = findings
        self.subject = subject

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> bool:
        if isinstance(error, Fault):
            self.findings.add(error.code, self.subject, error.detail)
            return True
        if isinstance(error, Exception):
            self.findings.add("verifier.exception", self.subject, f"{type(error).__name__}: {error}")
            return True
        return False


def need(condition: bool, code: str, detail: str) -> None:
    """Raise a Fault unless the condition holds."""
    if not condition:
        raise Fault(code, detail)


# ======================================================================================================
# Part 2. Encodings. One byte string has one meaning: nothing is padded, cut, trimmed or guessed (§1).
# ======================================================================================================

DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
HEX = re.compile(r"[0-9a-f]*", re.ASCII)
CODE = re.compile(r"(?!-\Z)[a-z0-9-]+", re.ASCII)  # `-` alone means absent, and is no code
ORDER = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)
ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(/[0-9]+)?", re.ASCII)
HOST = re.compile(r"[a-z0-9.-]+(:[0-9]+)?", re.ASCII)
NUMBER_TOKEN = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


def parse_hex(text: Any, size: int, what: str) -> bytes:
    """Read lower-case hex of exactly `size` bytes."""
    good = isinstance(text, str) and HEX.fullmatch(text) is not None
    need(good, "format.hex", f"{what}: hex not lower case")
    need(len(text) == 2 * size, "format.width", f"{what}: width is {len(text)} hex digits, not {2 * size}")
    return bytes.fromhex(text)


def parse_base64(text: Any, size: Optional[int], what: str) -> bytes:
    """Read canonical base64 (RFC 4648 §4: padded, zero tail bits), of `size` bytes if one is given."""
    need(isinstance(text, str), "format.base64", f"{what}: base64 expected")
    try:
        data = base64.b64decode(text)  # lenient: what it skips is not there when it is written again
    except ValueError:
        raise Fault("format.base64", f"{what}: not base64") from None
    need(base64.b64encode(data).decode() == text, "format.base64", f"{what}: base64 not canonical")
    need(size is None or len(data) == size, "format.width", f"{what}: width is {len(data)} bytes, not {size}")
    return data


def parse_decimal(text: str, what: str) -> int:
    """Read a decimal number from 0 to 2^63-1, without sign or leading zero, in ASCII digits."""
    need(DECIMAL.fullmatch(text) is not None, "format.number", f"{what}: number not canonical")
    need(int(text) <= MAX_TIME, "format.number", f"{what}: number over 2^63-1")
    return int(text)


def parse_time(text: str, what: str) -> int:
    """Read a time in microseconds, from -2^63+1 to 2^63-1; it may be negative, but not -0."""
    negative = text.startswith("-")
    value = parse_decimal(text[1:] if negative else text, what)
    need(not (negative and value == 0), "format.number", f"{what}: number not canonical (-0)")
    return -value if negative else value


def b64(data: bytes) -> str:
    """Write canonical base64."""
    return base64.b64encode(data).decode()


def canonical_pairs(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Refuse duplicate keys and keys out of RFC 8785 order (UTF-16 code units)."""
    result = dict(pairs)
    need(len(result) == len(pairs), "json.duplicate", "duplicate key")
    order = [key.encode("utf-16-be", "surrogatepass") for key, _ in pairs]
    need(order == sorted(order), "json.canonical", "keys not in canonical order")
    return result


def canonical_integer(text: str) -> int:
    """Read a JSON integer of 64 bits in its only form."""
    need(len(text) <= 20, "json.number", "number longer than 64 bits")
    value = int(text)
    need(str(value) == text, "json.number", "number not canonical")
    need(-(2**63) <= value < 2**63, "json.number", "number outside 64 bits")
    return value


def no_other_number(text: str) -> Any:
    """Refuse fractions, exponents, NaN and Infinity."""
    raise Fault("json.number", f"number not canonical: {text[:40]}")


STRICT_JSON = json.JSONDecoder(
    object_pairs_hook=canonical_pairs,
    parse_int=canonical_integer,
    parse_float=no_other_number,
    parse_constant=no_other_number,
)
PLAIN_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_json(data: bytes) -> Any:
    """Read JSON that is exactly its RFC 8785 form, with integers of 64 bits as the only numbers (§11)."""
    try:
        text = data.decode("utf-8")
        value = STRICT_JSON.decode(text)
    except UnicodeDecodeError:
        raise Fault("json.syntax", "not UTF-8") from None
    except RecursionError:
        raise Fault("json.depth", "nested too deep") from None
    except ValueError as error:
        raise Fault("json.syntax", f"not JSON: {error}") from None
    need(PLAIN_JSON.encode(value) == text, "json.canonical", "JSON not canonical")
    return value


def parse_document(data: bytes) -> Any:
    """Read a JSON document that ends in exactly one LF."""
    need(data.endswith(b"\n"), "json.canonical", "document does not end in LF")
    return parse_json(data[:-1])


def need_keys(value: Any, keys: str, what: str) -> None:
    """Refuse unknown and missing keys."""
    need(isinstance(value, dict), "json.shape", f"{what}: an object is expected")
    expected = set(keys.split())
    unknown, missing = ", ".join(sorted(set(value) - expected)), ", ".join(sorted(expected - set(value)))
    need(not unknown, "json.keys", f"{what}: unknown key {unknown}")
    need(not missing, "json.keys", f"{what}: missing key {missing}")


def need_integer(value: Any, low: int, high: int, what: str) -> int:
    """Refuse what is not an integer from low to high (true and false are no integers)."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    need(is_integer, "json.shape", f"{what}: an integer is expected")
    need(low <= value <= high, "format.number", f"{what}: {value} is out of range")
    return int(value)


def need_text(value: Any, pattern: Optional[re.Pattern[str]], what: str) -> str:
    """Refuse what is not a string, or not of the pattern."""
    need(isinstance(value, str), "json.shape", f"{what}: text is expected")
    good = pattern is None or pattern.fullmatch(value) is not None
    need(good, "json.shape", f"{what}: {value!r} is not allowed")
    return str(value)


def double_text(token: str) -> str:
    """Return the RFC 8785 form of a JSON number: ECMAScript Number::toString of the nearest double."""
    value = float(token)
    if value == 0:
        return "0"
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    digits = (whole + fraction).rstrip("0")
    point = len(whole) + int(exponent or 0)
    if not -6 < point <= 21:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+d}"
    elif point <= 0:
        text = "0." + "0" * -point + digits
    elif point < len(digits):
        text = digits[:point] + "." + digits[point:]
    else:
        text = digits.ljust(point, "0")
    return "-" + text if value < 0 else text


class NumberText(str):
    """Carry a number of a structure as the text that stood there."""


def exact_number(token: str) -> NumberText:
    """Refuse a number that is not written as RFC 8785 writes it."""
    good = len(token) <= 25 and double_text(token) == token  # none is longer
    need(good, "value.canonical", "value not canonical: a number in a structure")
    return NumberText(token)


STRUCTURE_JSON = json.JSONDecoder(
    object_pairs_hook=canonical_pairs,
    parse_int=exact_number,
    parse_float=exact_number,
    parse_constant=no_other_number,
)


STRUCTURE_MARK = re.compile(rb'(?s)"(?:[^"\\]|\\.)*"?|[][{}]')  # a whole string, or a bracket


def need_canonical_structure(data: bytes) -> None:
    """Refuse a structure (type j) that is not RFC 8785."""
    depth = 0
    for mark in STRUCTURE_MARK.findall(data):
        depth += mark in (b"[", b"{")
        depth -= mark in (b"]", b"}")
        need(depth <= MAX_STRUCTURE_DEPTH, "value.canonical", "structure nested too deep")
    try:
        text = data.decode("utf-8")
        value = STRUCTURE_JSON.decode(text)
    except (ValueError, RecursionError):
        raise Fault("value.canonical", "structure is not JSON") from None
    except Fault as fault:
        raise Fault("value.canonical", fault.detail) from None
    need(write_structure(value) == text, "value.canonical", "structure not canonical")


def write_structure(value: Any) -> str:
    """Write a parsed structure back, numbers as they stood."""
    if isinstance(value, NumberText):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join([write_structure(part) for part in value]) + "]"
    if isinstance(value, dict):
        pairs = [PLAIN_JSON.encode(key) + ":" + write_structure(part) for key, part in value.items()]
        return "{" + ",".join(pairs) + "}"
    return PLAIN_JSON.encode(value)


# ======================================================================================================
# Part 3. Hash trees (RFC 6962, RFC 9162). A root fixes every leaf, their number and their order.
# ======================================================================================================


def sha256(data: bytes) -> bytes:
    """Hash with SHA-256."""
    return hashlib.sha256(data).digest()


def leaf_hash(data: bytes) -> bytes:
    """Return LH(data)."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return NH(left, right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


EMPTY_ROOT = sha256(b"")


def tree_root(level: List[bytes]) -> bytes:
    """Return MTH of these leaf hashes (RFC 6962 §2.1), level by level; an odd last node moves up."""
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def inclusion_root(size: int, index: int, leaf: bytes, path: List[bytes]) -> bytes:
    """Return the root that a PATH (RFC 9162 §2.1.3.2) leads to; its length must be exactly that of the place."""
    need(0 <= index < size, "proof.shape", f"leaf {index} is outside a tree of {size}")
    node, last = index, size - 1
    for sibling in path:
        need(last > 0, "proof.shape", "path is too long")
        if node % 2 or node == last:
            leaf = node_hash(sibling, leaf)
            while node % 2 == 0 and node:
                node >>= 1
                last >>= 1
        else:
            leaf = node_hash(leaf, sibling)
        node >>= 1
        last >>= 1
    need(last == 0, "proof.shape", "path is too short")
    return leaf


def range_root(size: int, low: int, hashes: List[bytes], proof: List[bytes]) -> bytes:
    """Return the root from consecutive leaf hashes, the first at `low`, and the subtrees outside (§7)."""
    high = low + len(hashes)
    need(0 <= low < high <= size, "range.edge", f"range [{low}, {high}) is outside the index of {size}")
    unused = iter(proof)

    def root(start: int, end: int) -> bytes:
        if end <= low or high <= start:
            node = next(unused, None)
            if node is None:
                raise Fault("proof.shape", "proof is too short")
            return node
        if low <= start and end <= high:
            return tree_root(hashes[start - low : end - low])
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        return node_hash(root(start, middle), root(middle, end))

    result = root(0, size)
    need(next(unused, None) is None, "proof.shape", "proof has a hash too many")
    return result


def consistency_holds(old: int, new: int, old_root: bytes, new_root: bytes, proof: List[bytes]) -> bool:
    """Check a consistency proof (RFC 9162 §2.1.4.2). Packages hold all entries, so the steps below need none."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old - 1, new - 1
    while node % 2:
        node >>= 1
        last >>= 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node % 2 or node == last:
            first = node_hash(sibling, first)
            second = node_hash(sibling, second)
            while node % 2 == 0 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


# ======================================================================================================
# Part 4. Signatures. Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204), verification only.
# ======================================================================================================

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = Tuple[int, int, int, int]
IDENTITY: Point = (0, 1, 1, 0)


def point_add(a: Point, b: Point) -> Point:
    """Add two points in extended coordinates (RFC 8032 §5.1.4)."""
    u = (a[1] - a[0]) * (b[1] - b[0]) % P
    v = (a[1] + a[0]) * (b[1] + b[0]) % P
    w = 2 * a[3] * b[3] * D % P
    z = 2 * a[2] * b[2] % P
    e, f, g, h = v - u, z - w, z + w, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_double(a: Point) -> Point:
    """Double a point in extended coordinates (RFC 8032 §5.1.4)."""
    u, v = a[0] * a[0] % P, a[1] * a[1] % P
    h = u + v
    e = h - (a[0] + a[1]) ** 2
    g = u - v
    f = 2 * a[2] * a[2] + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_encode(a: Point) -> bytes:
    """Write a point in 32 bytes."""
    inverse = pow(a[2], P - 2, P)
    return (a[1] * inverse % P | (a[0] * inverse % P & 1) << 255).to_bytes(32, "little")


def point_decode(data: bytes) -> Optional[Point]:
    """Read a point; None unless the bytes are its canonical encoding (y < p, and no sign on x = 0)."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (v * x * x - u) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE: Point = point_decode(BASE_Y.to_bytes(32, "little")) or IDENTITY


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify strictly: S < L, canonical key of large order, and the cofactorless equation [S]B = R + [k]A.

    R is compared as bytes with the canonical encoding of [S]B - [k]A, so no other encoding of R is accepted.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    key = point_decode(public)
    if key is None or scalar >= L:
        return False
    if point_encode(point_double(point_double(point_double(key)))) == point_encode(IDENTITY):
        return False  # a key of small order would verify for many messages
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus_key: Point = (P - key[0], key[1], 1, P - key[3])
    table = (IDENTITY, BASE, minus_key, point_add(BASE, minus_key))
    total = IDENTITY
    for bit in range(252, -1, -1):
        total = point_double(total)
        choice = (scalar >> bit & 1) | (k >> bit & 1) << 1
        if choice:
            total = point_add(total, table[choice])
    return point_encode(total) == signature[:32]


# ML-DSA-44 (FIPS 204): q, d, tau, gamma1, gamma2, k = l = 4, beta, omega; the names are the standard's.
Q, DROPPED, TAU, GAMMA1, GAMMA2, BETA, OMEGA = 8380417, 13, 39, 1 << 17, 95232, 78, 80
ZETAS = [pow(1753, int("{:08b}".format(i)[::-1], 2), Q) for i in range(256)]
Poly = List[int]


def ntt(values: Poly) -> Poly:
    """Transform a polynomial (FIPS 204 algorithm 41)."""
    w, m, half = list(values), 0, 128
    while half:
        for start in range(0, 256, 2 * half):
            m += 1
            zeta = ZETAS[m]
            for j in range(start, start + half):
                t = zeta * w[j + half] % Q
                w[j + half] = w[j] - t
                w[j] += t
        half //= 2
    return w


def inverse_ntt(values: Poly) -> Poly:
    """Transform back (FIPS 204 algorithm 42); the result is in [0, q)."""
    w, m, half = list(values), 256, 1
    while half < 256:
        for start in range(0, 256, 2 * half):
            m -= 1
            zeta = Q - ZETAS[m]
            for j in range(start, start + half):
                t = w[j]
                w[j] = t + w[j + half]
                w[j + half] = zeta * (t - w[j + half]) % Q
        half *= 2
    return [8347681 * value % Q for value in w]


def unpack(data: bytes, bits: int) -> Poly:
    """Read 256 little-endian numbers of 10 or 18 bits (FIPS 204 algorithm 16): four lie in 5 or 9 bytes."""
    out, step, mask = [], bits // 2, (1 << bits) - 1
    for start in range(0, len(data), step):
        group = int.from_bytes(data[start : start + step], "little")
        out += [group & mask, group >> bits & mask, group >> 2 * bits & mask, group >> 3 * bits & mask]
    return out


@functools.lru_cache(maxsize=8)
def expand_key(public: bytes) -> Tuple[List[List[Poly]], List[Poly]]:
    """Return the matrix A (algorithm 32) and NTT(t1 * 2^d) of a public key."""
    matrix = []
    for row in range(4):
        line = []
        for column in range(4):
            stream = hashlib.shake_128(public[:32] + bytes((column, row))).digest(1344)
            groups = (stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 127) << 16 for i in range(0, 1344, 3))
            line.append([number for number in groups if number < Q][:256])
        matrix.append(line)
    t1 = [ntt([t << DROPPED for t in unpack(public[32 + 320 * i : 352 + 320 * i], 10)]) for i in range(4)]
    return matrix, t1


def sample_in_ball(seed: bytes) -> Poly:
    """Return the challenge polynomial with tau coefficients of +1 or -1 (FIPS 204 algorithm 29)."""
    stream = hashlib.shake_256(seed).digest(1024)
    signs, at, c = int.from_bytes(stream[:8], "little"), 8, [0] * 256
    for i in range(256 - TAU, 256):
        while stream[at] > i:
            at += 1
        c[i] = c[stream[at]]
        c[stream[at]] = 1 - 2 * (signs & 1)
        signs >>= 1
        at += 1
    return c


def unpack_hint(data: bytes) -> Optional[List[Set[int]]]:
    """Read the hint; None if it is malformed (FIPS 204 algorithm 21)."""
    hint: List[Set[int]] = []
    index = 0
    for i in range(4):
        end = data[OMEGA + i]
        if end < index or end > OMEGA:
            return None
        places = data[index:end]
        if any(places[j] >= places[j + 1] for j in range(len(places) - 1)):
            return None
        hint.append(set(places))
        index = end
    return None if any(data[index:OMEGA]) else hint


def mldsa44_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify an ML-DSA-44 signature, pure mode, empty context (FIPS 204 algorithms 3 and 8)."""
    if len(public) != 1312 or len(signature) != 2420:
        return False
    seed = signature[:32]
    z = [[GAMMA1 - v for v in unpack(signature[32 + 576 * i : 608 + 576 * i], 18)] for i in range(4)]
    hint = unpack_hint(signature[2336:])
    if hint is None or any(max(map(abs, part)) >= GAMMA1 - BETA for part in z):
        return False
    matrix, t1 = expand_key(public)
    mu = hashlib.shake_256(hashlib.shake_256(public).digest(64) + b"\0\0" + message).digest(64)
    c = ntt(sample_in_ball(seed))
    z = [ntt(part) for part in z]
    packed = b""
    for row in range(4):
        a0, a1, a2, a3 = matrix[row]
        z0, z1, z2, z3 = z
        t = t1[row]
        az = [a0[j] * z0[j] + a1[j] * z1[j] + a2[j] * z2[j] + a3[j] * z3[j] for j in range(256)]
        w = inverse_ntt([(az[j] - c[j] * t[j]) % Q for j in range(256)])
        number = 0
        for j in range(255, -1, -1):
            number = number << 6 | use_hint(j in hint[row], w[j])
        packed += number.to_bytes(192, "little")
    return hashlib.shake_256(mu + packed).digest(32) == seed


def use_hint(hinted: bool, r: int) -> int:
    """Return the high bits of r, corrected by the hint (FIPS 204 algorithms 36 and 40)."""
    low = r % (2 * GAMMA2)
    if low > GAMMA2:
        low -= 2 * GAMMA2
    high = (r - low) // (2 * GAMMA2)
    if r - low == Q - 1:
        high = 0
    if hinted:
        high = (high + 1) % 44 if low > 0 else (high - 1) % 44
    return high


# ======================================================================================================
# Part 5. Signed notes, keys, checkpoints (§5; C2SP signed-note, tlog-checkpoint, tlog-cosignature).
# ======================================================================================================

ED25519, COSIGNATURE, MLDSA = 1, 4, 6
KEY_WIDTH = {ED25519: 32, COSIGNATURE: 32, MLDSA: 1312}
TYPE_NAME = {ED25519: "Ed25519", COSIGNATURE: "cosignature/v1", MLDSA: "ML-DSA-44"}


class VerifierKey(NamedTuple):
    """Hold a public key with its name; the four bytes of `key_id` are derived from name, type and key."""

    name: str
    key_id: bytes
    kind: int
    public: bytes
    text: str


def is_key_name(name: str) -> bool:
    """Tell whether a key may have this name: not empty, printable, without blank and plus."""
    return name.isprintable() and name.split() == [name] and "+" not in name


def parse_vkey(text: Any, what: str) -> VerifierKey:
    """Read `name+hex+base64`; the key id must be the one that follows from the key."""
    need(isinstance(text, str) and text.count("+") >= 2, "key.format", f"{what}: not a verifier key")
    name, key_id, data = text.split("+", 2)
    need(is_key_name(name), "key.format", f"{what}: a key cannot have this name")
    raw = parse_base64(data, None, what)
    need(raw != b"" and raw[0] in KEY_WIDTH, "key.format", f"{what}: no such type of key is known")
    need(len(raw) == 1 + KEY_WIDTH[raw[0]], "format.width", f"{what}: a key of this type has another width")
    derived = sha256(name.encode() + b"\n" + raw)[:4]
    need(parse_hex(key_id, 4, what) == derived, "key.format", f"{what}: key id does not follow from the key")
    return VerifierKey(name, derived, raw[0], raw[1:], text)


class Note(NamedTuple):
    """Hold a signed note: its text (LF at the end) and its signature lines (name, key id, payload)."""

    text: bytes
    signatures: List[Tuple[str, bytes, bytes]]


def parse_note(data: bytes) -> Note:
    """Read a signed note; lines are split at LF only, at most 16 signature lines, one per key."""
    cut = data.rfind(b"\n\n")
    need(cut > 0 and data.endswith(b"\n"), "note.format", "not a signed note")
    text, lines = data[: cut + 1], data[cut + 2 :].split(b"\n")[:-1]
    need(len(lines) <= 16, "note.format", "more than 16 signature lines")
    signatures, seen = [], set()
    for line in lines:
        try:
            mark, name, payload = line.decode("utf-8").split(" ")
        except ValueError:
            raise Fault("note.format", "malformed signature line") from None
        raw = parse_base64(payload, None, "signature line")
        well_formed = mark == "\u2014" and is_key_name(name) and len(raw) > 4
        need(well_formed, "note.format", "malformed signature line")
        need((name, raw[:4]) not in seen, "note.format", "two signature lines of one key")
        seen.add((name, raw[:4]))
        signatures.append((name, raw[:4], raw[4:]))
    return Note(text, signatures)


class Checkpoint(NamedTuple):
    """Hold what a checkpoint says: origin, number of entries, root."""

    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read `origin LF size LF base64(root) LF`; there is never an extension line."""
    lines = text.decode("utf-8", "replace").split("\n")
    need(len(lines) == 4 and lines[3] == "", "checkpoint.format", "a checkpoint has exactly three lines")
    size = parse_decimal(lines[1], "size")
    return Checkpoint(lines[0], size, parse_base64(lines[2], 32, "root"))


def signature_fault(
    key: VerifierKey, payload: bytes, note: Note, point: Optional[Checkpoint]
) -> Optional[str]:
    """Verify one signature line; return what is wrong, or None."""
    if key.kind == ED25519:
        good = ed25519_verify(key.public, note.text, payload)
    elif key.kind == COSIGNATURE:
        head = b"cosignature/v1\ntime %d\n" % int.from_bytes(payload[:8], "big")
        good = len(payload) == 72 and ed25519_verify(key.public, head + note.text, payload[8:])
    elif point is None:
        return "an ML-DSA-44 key signs nothing but checkpoints"
    else:
        name, origin = key.name.encode(), point.origin.encode()
        need(len(name) < 256 and len(origin) < 256, "checkpoint.format", "name or origin over 255 bytes")
        message = b"subtree/v1\n\0" + bytes((len(name),)) + name + payload[:8]
        message += bytes((len(origin),)) + origin + bytes(8) + struct.pack(">Q", point.size) + point.root
        good = len(payload) == 2428 and mldsa44_verify(key.public, message, payload[8:])
    return None if good else f"{TYPE_NAME[key.kind]} signature of {key.name} is wrong"


def check_signatures(
    note: Note, required: List[VerifierKey], others: List[VerifierKey], point: Optional[Checkpoint], code: str
) -> Tuple[List[Fault], List[Tuple[VerifierKey, int]]]:
    """Verify the lines of known keys; return the faults and (key, time in seconds) of the good lines.

    Established: each required key signed this text. Lines of unknown keys are ignored.
    """
    faults, good, missing = [], [], list(required)
    for name, key_id, payload in note.signatures:
        for key in required + [key for key in others if key not in required]:
            if key.name != name or key.key_id != key_id:
                continue
            missing = [other for other in missing if other != key]
            wrong = signature_fault(key, payload, note, point)
            if wrong:
                faults.append(Fault(code + "_wrong", wrong))
            else:
                good.append((key, 0 if key.kind == ED25519 else int.from_bytes(payload[:8], "big")))
    for key in missing:
        faults.append(Fault(code + "_missing", f"{TYPE_NAME[key.kind]} line of {key.name} is missing"))
    return faults, good


# ======================================================================================================
# Part 6. The canonical zip (§11). Its directory is read, the only archive that may have this directory is
# rebuilt from it, and the bytes are compared: no hidden header, gap, comment or second meaning can remain.
# ======================================================================================================

NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", re.ASCII)
U32, U16 = 0xFFFFFFFF, 0xFFFF


class Member(NamedTuple):
    """Name a member and where its bytes lie."""

    name: str
    size: int
    crc: int
    offset: int


def local_header(name: bytes, size: int, crc: int) -> bytes:
    """Return the only allowed local header of a member."""
    big = size >= U32
    extra = struct.pack("<HHQQ", 1, 16, size, size) if big else b""
    short = min(size, U32)
    fixed = (0x04034B50, 45 if big else 20, 0, 0, 0, 0x21, crc, short, short, len(name), len(extra))
    return struct.pack("<IHHHHHIIIHH", *fixed) + name + extra


def directory_entry(name: bytes, size: int, crc: int, offset: int) -> bytes:
    """Return the only allowed directory entry of a member."""
    body = struct.pack("<QQ", size, size) if size >= U32 else b""
    body += struct.pack("<Q", offset) if offset >= U32 else b""
    extra = struct.pack("<HH", 1, len(body)) + body if body else b""
    short, place = min(size, U32), min(offset, U32)
    fixed = (0x02014B50, 0x0314, 45 if extra else 20, 0, 0, 0, 0x21, crc, short, short, len(name), len(extra))
    return struct.pack("<IHHHHHHIIIHHHHHII", *fixed, 0, 0, 0, 0x81A40000, place) + name + extra


def end_records(count: int, size: int, offset: int) -> bytes:
    """Return the only allowed end of an archive."""
    out = b""
    if count >= U16 or size >= U32 or offset >= U32:
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0x0314, 45, 0, 0, count, count, size, offset)
        out += struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
    short = min(count, U16)
    return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, short, short, min(size, U32), min(offset, U32), 0)


class Package:
    """Read members of a canonical zip; every read is checked against the digest taken first."""

    def __init__(self, file: BinaryIO, findings: Findings) -> None:
        self.file = file
        self.findings = findings
        self.members: Dict[str, Member] = {}
        self.digests: Dict[str, str] = {}
        self.length = file.seek(0, 2)
        self.read_directory()

    def read_at(self, offset: int, size: int) -> bytes:
        """Read so many bytes there (fewer at the end of the file)."""
        self.file.seek(offset)
        return self.file.read(size)

    def find_directory(self) -> Tuple[int, bytes, int]:
        """Find the directory from the end of the file; return start, bytes and the offset it claims."""
        tail_start = max(0, self.length - 65557)
        tail = self.read_at(tail_start, 65557)
        at = tail[:-18].rfind(b"PK\x05\x06")
        if at < 0:
            raise Unreadable("cannot read package: no end of a zip directory: not a package, or cut short")
        end = tail_start + at
        size, claimed = struct.unpack("<II", tail[at + 12 : at + 20])
        record = self.read_at(max(0, end - 76), 76)
        if record[:4] == b"PK\x06\x06" and record[56:60] == b"PK\x06\x07":
            size, claimed = struct.unpack("<QQ", record[40:56])
            end -= 76
        start = end - size
        if start < 0 or size > MAX_DIRECTORY:
            raise Unreadable("cannot read package: the zip directory does not lie in the file")
        return start, self.read_at(start, size), claimed

    def read_directory(self) -> None:
        """Read the directory, rebuild the archive from it and compare."""
        start, directory, claimed = self.find_directory()
        place, shift, at, count = 0, start - claimed, 0, 0
        previous = b""
        lower: Set[str] = set()
        while at < len(directory):
            fixed = directory[at : at + 46]
            if len(fixed) < 46 or fixed[:4] != b"PK\x01\x02":
                raise Unreadable("cannot read package: the zip directory is damaged")
            crc, _, size, name_size, extra_size, comment_size = struct.unpack("<IIIHHH", fixed[16:34])
            raw = directory[at + 46 : at + 46 + name_size]
            extra = directory[at + 46 + name_size : at + 46 + name_size + extra_size]
            if size == U32 and len(extra) >= 12 and extra[:2] == b"\1\0":
                size = int.from_bytes(extra[4:12], "little")
            entry = directory_entry(raw, size, crc, place)
            if directory[at : at + len(entry)] != entry:
                self.findings.add("zip.directory", raw.decode("latin-1"), "directory entry not canonical")
            header = local_header(raw, size, crc)
            if self.read_at(place + shift, len(header)) != header:
                self.findings.add("zip.local_header", raw.decode("latin-1"), "local header not canonical")
            self.note_member(raw, size, crc, place + shift + len(header), previous, lower)
            previous = raw
            place += len(header) + size
            at += 46 + name_size + extra_size + comment_size
            count += 1
            if count > MAX_MEMBERS:
                raise Unreadable(f"cannot read package: more than {MAX_MEMBERS} members")
        end = end_records(count, len(directory), place)
        if self.read_at(start + len(directory), len(end) + 1) != end:
            self.findings.add("zip.end", "package", "end of the zip not canonical")
        if shift or place != claimed or place + len(directory) + len(end) != self.length:
            self.findings.add("zip.gap", "package", "bytes around the members are not canonical")

    def note_member(
        self, raw: bytes, size: int, crc: int, offset: int, previous: bytes, lower: Set[str]
    ) -> None:
        """Check name and order of a member and remember it."""
        name = raw.decode("latin-1")
        parts = name.split("/")
        if NAME.fullmatch(name) is None or "." in parts or ".." in parts:
            self.findings.add("zip.name", name, "name not allowed")
        if name.lower() in lower:
            self.findings.add("zip.twin_name", name, "names not unique after lower-casing")
        lower.add(name.lower())
        if not self.members and name != "MANIFEST":
            self.findings.add("zip.order", name, "the first member is not MANIFEST")
        elif len(self.members) > 1 and raw <= previous:
            self.findings.add("zip.order", name, "members not sorted")
        self.members.setdefault(name, Member(name, size, crc, offset))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Read a member in pieces of 1 MiB; check CRC-32, and SHA-256 where it was taken before."""
        member = self.members[name]
        done, crc, digest = 0, 0, hashlib.sha256()
        while done < member.size:
            piece = self.read_at(member.offset + done, min(CHUNK, member.size - done))
            need(piece != b"", "member.short", "the file ends inside this member")
            done += len(piece)
            crc = zlib.crc32(piece, crc)
            digest.update(piece)
            yield piece
        known = self.digests.setdefault(name, digest.hexdigest())
        need(known == digest.hexdigest(), "member.changed", "the file changed while it was examined")
        need(crc == member.crc, "zip.crc", "CRC-32 differs")

    def read(self, name: str, limit: int) -> bytes:
        """Read a small member whole."""
        need(name in self.members, "member.missing", "member is missing")
        need(self.members[name].size <= limit, "member.too_long", f"longer than {limit} bytes")
        return b"".join(self.chunks(name))

    def lines(self, name: str) -> Iterator[Tuple[int, bytes]]:
        """Read a member line by line: (number from 1, bytes without LF)."""
        held: List[bytes] = []
        number, size = 0, 0
        if name not in self.members:
            return
        with self.findings.at(name):
            for piece in self.chunks(name):
                parts = piece.split(b"\n")
                for part in parts[:-1]:
                    held.append(part)
                    number += 1
                    line = b"".join(held)
                    held, size = [], 0
                    need(len(line) <= MAX_LINE, "line.too_long", f"line {number} is longer than 64 MiB")
                    yield number, line
                held.append(parts[-1])
                size += len(parts[-1])
                need(size <= MAX_LINE, "line.too_long", f"line {number + 1} is longer than 64 MiB")
            need(size == 0, "line.end", "the last line does not end in LF")


# ======================================================================================================
# Part 7. Log entries, schemas, records, index entries (§2, §3, §4).
# ======================================================================================================

# The lines of each kind, in order, parted by ` / `: key, then the type of each token; `?` marks what may be `-`.
ENTRY_LINES: Dict[str, List[str]] = {
    kind: lines.split(" / ")
    for kind, lines in {
        "scelle/genesis/v1": "order order / host host / authority vkey? / tagkey-sha256 b64 / hash sha256 / "
        "prev-log earlier?",
        "scelle/segment/v1": "order order / source alias / number n / records n / seq n n / time t? t? / undated n / "
        "watermark t t / profile profile / schema b64 / record-root b64 / index-size n / index-root b64 / "
        "position b64? b64? / anchor b64? / prev b64?",
        "scelle/gap/v1": "order order / source alias / interval t t? / cause code / lost-at-most n? / closes n?",
        "scelle/count/v1": "order order / source alias / interval t t / offered n / sealed n / failed n / "
        "excluded n / lost n / system code",
        "scelle/end/v1": "order order / source alias / after n?",
        "scelle/request/v1": "order order / request b64",
        "scelle/erase/v1": "order order / segment n b64 / record n b64 / index n.. / ground code / time t / "
        "basis basis / document b64? / authority-sig sig?",
        "scelle/release/v1": "order order / ground ground / time t / document b64 / authority-sig sig?",
        "scelle/keys/v1": "order order / role role / add vkey? / retire vkey? / from n / authority-sig sig?",
    }.items()
}
WORDS = {
    "sha256": ("sha256",),
    "profile": ("0", "1"),
    "basis": ("consent", "letter", "order", "release"),
    "ground": ("lifted", "expired", "court"),
    "role": ("log", "authority"),
}
PATTERNS = {"order": ORDER, "alias": ALIAS, "host": HOST, "code": CODE}


def parse_token(kind: str, token: str, what: str) -> Any:
    """Read one token of an entry."""
    if kind.endswith("?"):
        if token == "-":  # noqa: S105
            return None
        kind = kind[:-1]
    if kind == "n":
        return parse_decimal(token, what)
    if kind == "t":
        return parse_time(token, what)
    if kind == "b64":
        return parse_base64(token, 32, what)
    if kind == "sig":
        return parse_base64(token, 68, what)
    if kind == "vkey":
        return parse_vkey(token, what)
    if kind in PATTERNS:
        need(PATTERNS[kind].fullmatch(token) is not None, "entry.token", f"{what}: {token!r} is not allowed")
    else:
        need(token in WORDS[kind], "entry.token", f"{what}: {token!r} is not allowed")
    return token


class Entry(NamedTuple):
    """Hold an entry of the log: place, kind, leaf hash, fields by key, its bytes without `authority-sig`."""

    at: int
    kind: str
    leaf: bytes
    fields: Dict[str, Any]
    unsigned: bytes


def parse_entry(index: int, data: bytes) -> Entry:
    """Read an entry; only its exact canonical bytes are accepted (§4)."""
    need(len(data) <= MAX_ENTRY, "entry.format", "longer than 65,535 bytes")
    need(data.endswith(b"\n") and data.isascii(), "entry.format", "not ASCII lines, each ending in LF")
    lines = data.decode("ascii").split("\n")[:-1]
    kind = lines[0]
    need(kind in ENTRY_LINES, "entry.kind", f"unknown kind {kind!r}")
    need(len(lines) == 1 + len(ENTRY_LINES[kind]), "entry.keys", f"not the lines of {kind}")
    fields: Dict[str, Any] = {}
    for line, form in zip(lines[1:], ENTRY_LINES[kind]):  # noqa: B905  (equal lengths; no strict= in 3.9)
        key, *kinds = form.split(" ")
        name, *tokens = line.split(" ")
        need(name == key, "entry.keys", f"key {name!r} where {key!r} must stand")
        if kinds == ["n.."]:
            fields[key] = [parse_decimal(token, key) for token in tokens]
        elif kinds == ["earlier?"]:
            need(tokens == ["-"] or len(tokens) == 3, "entry.token", "prev-log: `-`, or origin, size, root")
            if tokens != ["-"]:
                parse_decimal(tokens[1], key)
                parse_base64(tokens[2], 32, key)
            fields[key] = None if tokens == ["-"] else " ".join(tokens)
        else:
            need(len(tokens) == len(kinds), "entry.keys", f"{key} has {len(kinds)} values")
            values = [parse_token(form, token, key) for form, token in zip(kinds, tokens)]  # noqa: B905
            fields[key] = values[0] if len(values) == 1 else tuple(values)
    unsigned = data[: data.rfind(b"authority-sig ")] if "authority-sig" in fields else data
    return Entry(index, kind, leaf_hash(data), fields, unsigned)


class Schema(NamedTuple):
    """Hold a schema: names of dimensions and (name, type) of fields."""

    digest: str
    name: str
    dimensions: List[str]
    fields: List[Tuple[str, str]]


def parse_schema(data: bytes) -> Schema:
    """Read a schema (§2)."""
    value = parse_json(data)
    need_keys(value, "dimensions fields format name version", "schema")
    need(value["format"] == "scelle/schema/v1", "schema.format", "unknown format")
    need_text(value["name"], None, "name")
    need_integer(value["version"], 0, MAX_TIME, "version")
    dimensions, fields = value["dimensions"], value["fields"]
    lists = isinstance(dimensions, list) and isinstance(fields, list)
    need(lists, "json.shape", "dimensions and fields are lists")
    for name in dimensions:
        need_text(name, None, "dimension")
    different = 2 <= len(dimensions) <= 32 and len(set(dimensions)) == len(dimensions)
    need(different, "schema.format", "2 to 32 different dimensions")
    need(dimensions[:2] == ["source", "account"], "schema.format", "the first two are source and account")
    pairs = []
    for field in fields:
        need_keys(field, "name type", "field")
        pairs.append((need_text(field["name"], None, "field"), need_text(field["type"], None, "type")))
        need(pairs[-1][1] in tuple("nbitdDsxjh"), "schema.format", f"unknown type {pairs[-1][1]!r}")
    need(len({name for name, _ in pairs}) == len(pairs) <= 65_535, "schema.format", "field names must differ")
    need(
        [kind for _, kind in pairs[:2]] == ["t", "i"], "schema.format", "fields 0 and 1 are of types t and i"
    )
    keys = [kind for _, kind in pairs[2 : len(dimensions) + 1]]
    named = len(keys) == len(dimensions) - 1 and set(keys) <= {"s", "n"}
    need(named, "schema.format", "field d is the identifier of dimension d")
    return Schema(sha256(data).hex(), value["name"], dimensions, pairs)


class Value(NamedTuple):
    """Hold one decoded value: type letter and the bytes after the length."""

    letter: str
    data: bytes


VALUE_WIDTH = {"n": 0, "b": 1, "i": 8, "t": 8, "d": 8, "h": 40}


def parse_value(data: bytes, offset: int) -> Tuple[Value, int]:
    """Read one value at an offset and check that it is the only form of what it says (§2)."""
    need(len(data) >= offset + 5, "value.canonical", "value not canonical: value cut short")
    letter = chr(data[offset])
    size = int.from_bytes(data[offset + 1 : offset + 5], "big")
    end = offset + 5 + size
    need(size <= MAX_VALUE, "value.too_long", "a value over 16 MiB must be content")
    need(len(data) >= end, "value.canonical", "value not canonical: value cut short")
    body = data[offset + 5 : end]
    need(letter in "nbitdDsxjh", "value.canonical", f"value not canonical: unknown type {letter!r}")
    need(
        VALUE_WIDTH.get(letter, size) == size,
        "value.canonical",
        f"value not canonical: type {letter} of {size} bytes",
    )
    if letter == "b":
        need(body in (b"\0", b"\1"), "value.canonical", "value not canonical: a boolean is 00 or 01")
    elif letter == "d":
        number = struct.unpack(">d", body)[0]
        need(
            number == number or body == b"\x7f\xf8" + bytes(6),
            "value.canonical",
            "value not canonical: NaN not canonical",
        )
    elif letter == "h":
        need(body[32] < 128, "value.canonical", "value not canonical: size of content below zero")
    elif letter == "D":
        token = NUMBER_TOKEN.fullmatch(body.decode("latin-1"))
        need(token is not None, "value.canonical", "value not canonical: a number as text has another form")
    elif letter == "s":
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("value.canonical", "value not canonical: text is not UTF-8") from None
    elif letter == "j":
        need_canonical_structure(body)
    return Value(letter, body), end


class Opened(NamedTuple):
    """Hold an opened record: its commitment and its values (None where redacted)."""

    rc: bytes
    values: List[Optional[Value]]


def open_record(line: Dict[str, Any]) -> Opened:
    """Recompute the commitment of a record from what is shown of it (§2).

    Established: whoever sealed `rc` fixed these bytes. Not established: where `rc` stands in the log.
    """
    shown = line["v"]
    if line["p"] == 0:
        salt, data = parse_hex(line["k"], 16, "record salt"), parse_base64(shown, None, "record")
        values: List[Optional[Value]] = []
        offset = 2
        for _ in range(int.from_bytes(data[:2], "big")):
            value, offset = parse_value(data, offset)
            values.append(value)
        need(offset == len(data), "value.canonical", "value not canonical: bytes after the last value")
        return Opened(leaf_hash(b"R0" + salt + data), values)
    need(isinstance(shown, list) and len(shown) <= 65_535, "json.shape", "v: a list of fields is expected")
    values, leaves = [], []
    for field in shown:
        if isinstance(field, str):
            leaves.append(parse_hex(field, 32, "field leaf hash"))
            values.append(None)
            continue
        need(isinstance(field, list) and len(field) == 2, "json.shape", "field: [salt, value] is expected")
        salt, data = parse_hex(field[0], 16, "field salt"), parse_base64(field[1], None, "field")
        value, end = parse_value(data, 0)
        need(end == len(data), "value.canonical", "value not canonical: bytes after the value")
        leaves.append(leaf_hash(b"F" + salt + data))
        values.append(value)
    return Opened(leaf_hash(b"R1" + struct.pack(">H", len(leaves)) + tree_root(leaves)), values)


def field_salt(record_salt: bytes, field: int) -> bytes:
    """Return the salt of a field of profile 1, for a holder of the record key; packages show the result."""
    return sha256(b"S" + record_salt + struct.pack(">H", field))[:16]


def chunk_root(record_salt: bytes, chunks: List[bytes]) -> bytes:
    """Return the root over 1 MiB chunks of a document (§2); packages are checked by SHA-256 instead."""
    salts = [sha256(b"K" + record_salt + struct.pack(">Q", k))[:16] for k in range(len(chunks))]
    return tree_root([leaf_hash(b"C" + salts[k] + chunk) for k, chunk in enumerate(chunks)])


def index_tag(tag_key: bytes, dimension: str, identifier: str) -> bytes:
    """Return the 16-byte tag under which an identifier is filed (§3)."""
    return hmac.new(tag_key, dimension.encode() + b"\0" + identifier.encode(), hashlib.sha256).digest()[:16]


def index_inner(salt: bytes, time: int, seq: int, rc: bytes) -> bytes:
    """Bind time, sequence number and record commitment of an index entry."""
    return sha256(b"I" + salt + struct.pack(">qq", time, seq) + rc)


def index_leaf(dimension: int, tag: bytes, below: bytes) -> bytes:
    """Return the leaf hash of an index entry from its dimension, 1, 2 or 16 tag bytes and what is below."""
    if len(tag) == 16:
        below = sha256(b"T" + tag[2:16] + below)
    if len(tag) > 1:
        below = sha256(b"T" + tag[1:2] + below)
    return leaf_hash(b"X" + bytes((dimension,)) + tag[:1] + below)


# ======================================================================================================
# Part 8. The documents beside the proofs: trust, policy, query (§11).
# ======================================================================================================


class Trust(NamedTuple):
    """Hold what the receiver was given once, at the beginning, and believes."""

    authority: List[VerifierKey]
    cosigners: List[VerifierKey]
    genesis: bytes
    held: Optional[Tuple[int, bytes]]
    log: List[VerifierKey]
    order: str
    origin: str
    quorum: int
    tag_key: Optional[bytes]
    verifier_sha256: str


def parse_trust(data: bytes, kind: str) -> Trust:
    """Read trust.json, or policy.json (the same without tag key and held checkpoint)."""
    value = parse_document(data)
    keys = "authority cosigners format genesis log order origin quorum verifier_sha256"
    need_keys(value, keys + (" held tagkey" if kind == "trust" else ""), kind)
    need(value["format"] == "scelle/trust/v1", "trust.format", "unknown format")
    groups = {}
    for group, kinds in (("authority", (4,)), ("cosigners", (1, 4, 6)), ("log", (1, 6))):
        few = isinstance(value[group], list) and len(value[group]) <= 1000
        need(few, "json.shape", f"{group}: a list of keys is expected")
        groups[group] = [parse_vkey(text, group) for text in value[group]]
        right = all(key.kind in kinds for key in groups[group])
        need(right, "key.format", f"{group}: a key of this type is not allowed")
        need(
            len(set(groups[group])) == len(groups[group]), "key.format", f"{group}: a key stands there twice"
        )
    both = [key.kind for key in groups["log"]] == [ED25519, MLDSA]
    need(both, "key.format", "log: one Ed25519 key, then one ML-DSA-44 key")
    origin = need_text(value["origin"], None, "origin")
    need(all(key.name == origin for key in groups["log"]), "key.format", "log keys are named by the origin")
    held = None
    if kind == "trust" and value["held"] is not None:
        need_keys(value["held"], "root size", "held")
        held = (
            need_integer(value["held"]["size"], 0, MAX_TIME, "held"),
            parse_base64(value["held"]["root"], 32, "held"),
        )
    return Trust(
        authority=groups["authority"],
        cosigners=groups["cosigners"],
        genesis=parse_base64(value["genesis"], 32, "genesis"),
        held=held,
        log=groups["log"],
        order=need_text(value["order"], ORDER, "order"),
        origin=origin,
        quorum=need_integer(value["quorum"], 0, MAX_TIME, "quorum"),
        tag_key=parse_hex(value["tagkey"], 32, "tagkey") if kind == "trust" else None,
        verifier_sha256=parse_hex(value["verifier_sha256"], 32, "verifier_sha256").hex(),
    )


class Query(NamedTuple):
    """Hold the question: all records of an order with this identifier in this window [start, until)."""

    data: bytes
    dimension: str
    start: Optional[int]
    until: Optional[int]
    order: str
    redact: Dict[str, str]
    strength: str
    value: str


def parse_query(data: bytes) -> Query:
    """Read query.json."""
    value = parse_document(data)
    need_keys(value, "dimension format from order redact strength until value", "query")
    need(value["format"] == "scelle/query/v1", "query.format", "unknown format")
    need(isinstance(value["redact"], dict), "json.shape", "redact: an object is expected")
    for code in value["redact"].values():
        need_text(code, CODE, "redact")
    for end in ("from", "until"):
        if value[end] is not None:
            need_integer(value[end], MIN_TIME, MAX_TIME, end)
    query = Query(
        data=data,
        dimension=need_text(value["dimension"], None, "dimension"),
        start=value["from"],
        until=value["until"],
        order=need_text(value["order"], ORDER, "order"),
        redact=value["redact"],
        strength=need_text(value["strength"], re.compile("[ABC]"), "strength"),
        value=need_text(value["value"], None, "value"),
    )
    forward = query.start is None or query.until is None or query.start < query.until
    need(forward, "query.window", "from is not before until")
    whole = query.dimension == "source" and query.start is None and query.until is None
    need(query.strength != "A" or whole, "query.strength", "strength A: dimension source, no from, no until")
    return query


# ======================================================================================================
# Part 9. The examination. Nothing in the package is believed until a chain of hashes from the trust file
# reaches it; each step says what it establishes.
# ======================================================================================================

JsonLine = Tuple[int, Dict[str, Any]]
Hit = Tuple[bytes, int, int]  # commitment, time, sequence number
ALWAYS = "MANIFEST README.txt checkpoint policy.json proofs.jsonl query.json records.jsonl".split()
ALWAYS += ["scelle_verify.py", "withheld.jsonl"]
ITEM = re.compile(r"items/([A-Z0-9]{1,16})-([0-9]{7}|[1-9][0-9]{7,17})\.[a-z0-9]{1,8}", re.ASCII)
MANIFEST_LINE = re.compile(r"file ([0-9a-f]{64}) (0|[1-9][0-9]{0,18}) ([!-~]+)", re.ASCII)


class Ahead:
    """Walk over lines with one line of foresight."""

    def __init__(self, lines: Iterator[JsonLine]) -> None:
        self.lines = lines
        self.head: Optional[JsonLine] = next(lines, None)

    def at(self) -> int:
        """Return the log index that the next line speaks of, or -1 at the end."""
        return int(self.head[1]["at"]) if self.head else -1

    def pos(self) -> int:
        """Return the position that the next line speaks of, or -1 at the end."""
        return int(self.head[1]["pos"]) if self.head else -1

    def take(self) -> JsonLine:
        """Return the next line and move on."""
        line = self.head
        if line is None:
            raise Fault("verifier.exception", "no line is left")
        self.head = next(self.lines, None)
        return line


class Segment:
    """Hold what the log's manifest says of one segment, and what its tombstones erase."""

    def __init__(self, entry: Entry) -> None:
        f = entry.fields
        self.index, self.leaf, self.source = entry.at, entry.leaf, str(f["source"])
        self.number, self.records, self.undated = int(f["number"]), int(f["records"]), int(f["undated"])
        self.seq: Tuple[int, int] = f["seq"]
        self.earliest: Optional[int] = f["time"][0]
        self.latest: Optional[int] = f["time"][1]
        self.profile, self.schema_digest = int(f["profile"]), f["schema"].hex()
        self.record_root: bytes = f["record-root"]
        self.index_size, self.index_root = int(f["index-size"]), f["index-root"]
        self.watermark: Tuple[int, int] = f["watermark"]
        self.position, self.prev = f["position"], f["prev"]
        self.schema: Optional[Schema] = None
        self.erased_records: Dict[int, bytes] = {}  # position in R -> commitment
        self.erased_places: Dict[int, int] = {}  # position in X -> position in R

    def covers(self, time: int) -> bool:
        """Tell whether a dated record may have this time by the manifest's bounds, both inclusive."""
        return self.earliest is not None and self.latest is not None and self.earliest <= time <= self.latest


class Chain:
    """Hold the state of one log source while its manifests are read in order."""

    def __init__(self) -> None:
        self.last: Optional[Segment] = None
        self.ended = False


class Run:
    """Hold the state of one range of a segment while its lines are read."""

    def __init__(self, name: str, window: Tuple[int, int]) -> None:
        self.name, self.window = name, window
        self.lines, self.next_position, self.closed = 0, 0, False
        self.last_key: Optional[Tuple[int, int]] = None
        self.trailing: List[int] = []


class Shown:
    """Hold what the proofs of one segment show: hits by position in X (None where erased), and edges."""

    def __init__(self) -> None:
        self.hits: Dict[int, Optional[Hit]] = {}
        self.edges: Set[int] = set()
        self.undated: Set[int] = set()
        self.sequence_numbers: Set[int] = set()
        self.whole = False


def bundle_name(number: int) -> str:
    """Write a bundle's number in groups of three digits, all but the last with an x (C2SP tlog-tiles)."""
    name = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        name = f"x{number % 1000:03d}/{name}"
    return name


def counters(names: str) -> Dict[str, int]:
    """Return a zero for each name."""
    return dict.fromkeys(names.split(), 0)


class Examination:
    """Examine one package against a trust file, a query and held checkpoints."""

    def __init__(
        self,
        package: Package,
        findings: Findings,
        trust: Optional[Trust],
        query: Optional[bytes],
        held: List[Tuple[str, bytes]],
        promises: List[Tuple[str, bytes]],
    ) -> None:
        self.package, self.findings = package, findings
        self.given_trust, self.given_query, self.held, self.promises = trust, query, held, promises
        self.trust: Optional[Trust] = trust
        self.query: Optional[Query] = None
        self.size = 0
        self.manifest: Optional[Note] = None
        self.manifest_head = "", 0
        self.notes: Dict[str, Tuple[Note, Checkpoint]] = {}
        self.entries: List[Optional[Entry]] = []
        self.leaves: List[bytes] = []
        self.keys: Dict[int, List[Tuple[int, VerifierKey]]] = {}  # type -> (valid above this size, key)
        self.windows: List[Tuple[int, int]] = []  # rotations: (entry index, F)
        self.retired: Dict[VerifierKey, int] = {}  # authority keys: entries from this index on are not theirs
        # (key, size, time) of good lines that carry a time
        self.stamps: List[Tuple[VerifierKey, int, int]] = []
        self.cosigned = 0
        self.segments: Dict[int, Segment] = {}
        self.chains: Dict[str, Chain] = {}
        self.schemas: Dict[str, Schema] = {}
        # source -> segments whose watermark the clock had not reached
        self.ahead: Dict[str, Dict[str, Any]] = {}
        self.gaps: Dict[int, Dict[str, Any]] = {}
        self.counts: List[Dict[str, Any]] = []
        self.requests: Set[bytes] = set()
        self.sources: Set[str] = set()  # of gaps and counts
        self.released: Optional[Tuple[int, bool]] = None  # (entry index, signed by the authority)
        self.tombstones = {"consent": 0, "letter": 0, "order": 0, "release": 0}
        self.documents: List[str] = []
        self.wanted: Dict[int, Set[str]] = {}
        self.touched = counters("all searched undated_only left_out not_searchable empty")
        self.hits = counters("all produced withheld erased erased_edge")
        self.fields = counters("all open redacted redacted_not_asked")
        self.redacted: Dict[str, List[int]] = {}  # code -> [fields, records]
        self.kept_back: Dict[str, List[int]] = {}  # code -> [records, contents]
        self.contents = counters("all delivered withheld")
        self.item_names: Set[str] = set()
        self.item_numbers: Set[int] = set()
        self.item_floor, self.item_top, self.item_prefix = -1, -1, ""
        self.audited: Optional[Set[int]] = None
        self.commitments: Dict[Tuple[str, int], bytes] = {}
        self.promise_notes: List[str] = []

    def expect(self, condition: bool, code: str, subject: str, detail: str) -> bool:
        """Add a finding unless the condition holds, and go on."""
        if not condition:
            self.findings.add(code, subject, detail)
        return condition

    def run(self) -> None:
        """Take the steps in order; a step that fails is a finding and does not stop the next."""
        for step in (
            self.step_1_members,
            self.step_2_trust_and_query,
            self.step_3_entries,
            self.step_4_keys,
            self.step_5_checkpoints,
            self.step_6_held,
            self.step_7_schemas,
            self.step_8_log,
            self.step_9_what_the_query_touches,
            self.step_10_answer,
            self.step_11_sums,
            self.step_12_audit,
            self.step_13_tokens,
            self.step_14_promises,
        ):
            with self.findings.at(step.__name__):
                step()

    # -- step 1 --------------------------------------------------------------------------------------------

    def step_1_members(self) -> None:
        """Hash every member and compare with MANIFEST.

        Established: MANIFEST lists exactly these members. Its signature is checked in step 5; evidence stands on
        the checkpoint, MANIFEST binds the rest (load file, README).
        """
        package = self.package
        for name in package.members:
            if name != "MANIFEST":
                with self.findings.at(name):
                    for _ in package.chunks(name):
                        pass
        for name in ALWAYS:
            self.expect(name in package.members, "member.missing", name, "this member must always exist")
        listed: Dict[str, Tuple[str, int]] = {}
        with self.findings.at("MANIFEST"):
            note = self.manifest = parse_note(package.read("MANIFEST", MAX_MANIFEST))
            lines = note.text.decode("utf-8").split("\n")[:-1]
            words = [line.split(" ")[0] for line in lines[:3]]
            need(words == ["scelle/package/v1", "origin", "size"], "manifest.format", "not scelle/package/v1")
            self.manifest_head = lines[1][7:], parse_decimal(lines[2][5:], "size")
            previous = ""
            for line in lines[3:]:
                match = MANIFEST_LINE.fullmatch(line)
                if match is None:
                    raise Fault("manifest.format", f"no `file` line: {line!r}")
                digest, size, path = match.groups()
                need(previous < path, "manifest.format", f"not sorted by path, or a path twice: {path}")
                listed[path] = digest, int(size)
                previous = path
        for name, member in package.members.items():
            if name == "MANIFEST":
                continue
            if self.expect(name in listed, "manifest.not_listed", name, "member is not in MANIFEST"):
                same = listed[name] == (package.digests.get(name), member.size)
                self.expect(same, "manifest.differs", name, "size or SHA-256 is not that of MANIFEST")
        for name in listed:
            self.expect(name in package.members, "manifest.absent", name, "in MANIFEST, not in the package")

    # -- step 2 --------------------------------------------------------------------------------------------

    def step_2_trust_and_query(self) -> None:
        """Choose what to believe and what to answer.

        Established with --query: the package answers the question that was asked, byte for byte. Without it: only
        the question that the producer states. Without --trust the package's own policy is used, which proves
        nothing.
        """
        package = self.package
        with self.findings.at("policy.json"):
            policy = parse_trust(package.read("policy.json", MAX_JSON_DOCUMENT), "policy")
            if self.trust is None:
                self.trust = policy
        stated = None
        with self.findings.at("query.json"):
            stated = package.read("query.json", MAX_JSON_DOCUMENT)
            query = parse_query(stated)
            if self.given_query is None:
                self.query = query
        if self.given_query is not None:
            with self.findings.at("--query"):
                try:
                    self.query = parse_query(self.given_query)
                except Fault as fault:
                    exact = (
                        "--query takes the authority's query.json byte for byte, not one formatted by hand"
                    )
                    raise Fault(fault.code, f"{fault.detail}; {exact}") from None
                detail = "the query of the package is not the authority's"
                self.expect(stated == self.given_query, "query.differs", "query.json", detail)
        trust, query_asked = self.trust, self.query
        if trust is not None and query_asked is not None:
            same = query_asked.order == trust.order
            whose = "the package's policy" if self.given_trust is None else "the trust file"
            detail = f"the query is of order {query_asked.order}, {whose} of order {trust.order}"
            self.expect(same, "query.order", "query.json", detail)
        if query_asked is not None:
            keys = {"time", "seq", query_asked.dimension} & set(query_asked.redact)
            self.expect(
                not keys, "query.redact_key", "query.json", f"a key field is not redacted: {sorted(keys)}"
            )

    # -- step 3 --------------------------------------------------------------------------------------------

    def step_3_entries(self) -> None:
        """Read all entries of the log and the checkpoint they belong to.

        Established: the bytes of every entry, and the root over them, rebuilt. Whose log it is: steps 4 to 6.
        """
        package = self.package
        for name in package.members:
            if name == "checkpoint" or name.startswith("checkpoint."):
                with self.findings.at(name):
                    note = parse_note(package.read(name, MAX_NOTE))
                    self.notes[name] = note, parse_checkpoint(note.text)
        need("checkpoint" in self.notes, "checkpoint.missing", "no checkpoint could be read")
        self.size = self.notes["checkpoint"][1].size
        need(self.size > 0, "checkpoint.format", "a log has at least its genesis entry")
        expected: Set[str] = set()
        for number in range((self.size + 255) // 256):
            width = min(256, self.size - 256 * number)
            name = "entries/" + bundle_name(number) + ("" if width == 256 else f".p/{width}")
            expected.add(name)
            if name not in package.members:
                self.findings.add("entries.missing", name, "a bundle of entries is missing")
                break
            before = len(self.leaves)
            with self.findings.at(name):
                self.read_bundle(package.read(name, 256 * (MAX_ENTRY + 2)), width)
            if len(self.leaves) != before + width:
                break
        for name in package.members:
            if name.startswith("entries/"):
                self.expect(name in expected, "member.unknown", name, "not a bundle that covers the size")

    def read_bundle(self, data: bytes, width: int) -> None:
        """Read a bundle: be16 length and bytes of each entry, exactly as many as its name says."""
        at = 0
        for _ in range(width):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            need(len(data) >= end, "entries.bundle", "fewer entries than the name says, or one cut short")
            entry = None
            with self.findings.at(f"entry {len(self.leaves)}"):
                entry = parse_entry(len(self.leaves), data[at + 2 : end])
            self.entries.append(entry)
            self.leaves.append(leaf_hash(data[at + 2 : end]))
            at = end
        need(at == len(data), "entries.bundle", "more entries than the name says")

    # -- step 4 --------------------------------------------------------------------------------------------

    def step_4_keys(self) -> None:
        """Follow the rotations of the log's keys, from the keys of the trust file on (§5).

        Established: which Ed25519 and which ML-DSA-44 key is valid at each size, by rotations in the log itself.
        The trust file's own list of authority keys is never changed by the log.
        """
        trust = self.trust
        if trust is None:
            raise Fault("trust.format", "neither a trust file nor a policy could be read")
        self.keys = {key.kind: [(-1, key)] for key in trust.log}
        for entry in self.entries:
            if entry is not None and entry.kind == "scelle/keys/v1":
                with self.findings.at(f"entry {entry.at}"):
                    self.rotate(trust, entry)

    def rotate(self, trust: Trust, entry: Entry) -> None:
        """Apply one entry of kind keys."""
        add, retire, start = entry.fields["add"], entry.fields["retire"], entry.fields["from"]
        need(start > entry.at, "keys.rotation", "a rotation cannot act on sizes before its own entry")
        signer = self.authority_signature(trust, entry)
        if entry.fields["role"] == "authority":
            need(signer is not None, "keys.authority", "authority-sig by the old key is missing")
            need(
                add is None or add.kind == COSIGNATURE, "keys.rotation", "an authority key is of another type"
            )
            need(add is not None or retire is not None, "keys.rotation", "no key to add and none to retire")
            need(retire is None or retire == signer, "keys.authority", "not signed by the key that retires")
            if retire is not None:
                self.retired[retire] = min(start, self.retired.get(retire, start))
            return
        if add is None or retire is None:
            raise Fault("keys.rotation", "add and retire go together: one key a type at every size")
        same = add.kind == retire.kind and add.kind in self.keys
        need(same, "keys.rotation", "add and retire are of one type")
        line = self.keys[add.kind]
        need(add.name == trust.origin, "keys.rotation", "log keys are named by the origin")
        need(retire == line[-1][1], "keys.rotation", "the key that retires is not the valid one")
        need(add not in [key for _, key in line], "keys.rotation", "a key cannot come back")
        need(start > line[-1][0], "keys.rotation", "rotations of one type follow one another")
        line.append((start, add))
        self.windows.append((entry.at, start))

    def keys_at(self, size: int) -> List[VerifierKey]:
        """Return the Ed25519 and the ML-DSA-44 key that sign a checkpoint of this size."""
        return [[key for start, key in line if start < size][-1] for line in self.keys.values()]

    def authority_signature(self, trust: Trust, entry: Entry) -> Optional[VerifierKey]:
        """Verify `authority-sig` (§4); None where it is `-`. A wrong one is a fault wherever it stands."""
        payload = entry.fields["authority-sig"]
        if payload is None:
            return None
        text = f"scelle/consent/v1\n{trust.origin}\n{b64(trust.genesis)}\n"
        for key in trust.authority:
            if key.key_id == payload[:4] and self.retired.get(key, entry.at + 1) > entry.at:
                if ed25519_verify(key.public, text.encode() + entry.unsigned, payload[4:]):
                    return key
        raise Fault("consent.signature", "authority-sig is not a valid signature of the authority")

    # -- step 5 --------------------------------------------------------------------------------------------

    def step_5_checkpoints(self) -> None:
        """Check root and signatures of every checkpoint, and the signature of MANIFEST.

        Established: the holder of both log keys stated this size and this root, and bound these members. Not
        established: that he stated no other one to somebody else; held checkpoints and cosigners are for that.
        """
        trust = self.trust
        if trust is None or not self.keys or "checkpoint" not in self.notes:
            raise Fault("checkpoint.unchecked", "no checkpoint, or no keys to check it with")
        good_sizes = []
        for name, (note, point) in self.notes.items():
            same = point.origin == trust.origin
            detail = f"it is of {point.origin}, the trust file of {trust.origin}"
            self.expect(same, "checkpoint.origin", name, detail)
            complete = point.size <= len(self.leaves)
            right = complete and tree_root(self.leaves[: point.size]) == point.root
            self.expect(right, "checkpoint.root", name, "root is not the root of these entries")
            keys, others = self.keys_at(point.size), trust.cosigners + trust.authority
            faults, good = check_signatures(note, keys, others, point, "checkpoint.signature")
            for fault in faults:
                self.findings.add(fault.code, name, fault.detail)
            if right and not faults:
                good_sizes.append(point.size)
                self.note_stamps(point.size, good)
            if name == "checkpoint":
                count = len({key for key, _ in good if key in trust.cosigners and key.kind != ED25519})
                self.cosigned = count
                enough = count >= trust.quorum
                self.expect(enough, "checkpoint.quorum", name, f"{count} of {trust.quorum} cosigners")
            else:
                needed = name == f"checkpoint.{point.size}" and point.size < self.size
                needed = needed and any(self.shows_keys_before(point.size, *turn) for turn in self.windows)
                self.expect(needed, "member.unknown", name, "an older checkpoint that no rotation asks for")
        for index, start in self.windows:
            proven = any(self.shows_keys_before(size, index, start) for size in good_sizes)
            detail = f"no checkpoint of a size in ({index}, {start}] signed by all keys before"
            self.expect(proven, "keys.no_checkpoint", f"entry {index}", detail)
        with self.findings.at("MANIFEST"):
            if self.manifest is None:
                raise Fault("manifest.unchecked", "MANIFEST could not be read")
            same = self.manifest_head == (trust.origin, self.size)
            self.expect(same, "manifest.head", "MANIFEST", "origin or size is not the log's")
            keys = [key for key in self.keys_at(self.size) if key.kind == ED25519]
            faults, _ = check_signatures(self.manifest, keys, [], None, "manifest.signature")
            for fault in faults:
                self.findings.add(fault.code, "MANIFEST", f"MANIFEST not signed: {fault.detail}")
            need(len(self.manifest.signatures) <= 1, "manifest.format", "MANIFEST has one signature line")

    def shows_keys_before(self, size: int, index: int, start: int) -> bool:
        """Tell whether a checkpoint of this size is one that the rotation (entry index, from size `start`) asks for.

        Where two rotations overlap, the keys before the later one are those that the earlier one brought in: a
        checkpoint signed by older keys does not show them. A rotation still to come is shown by the newest.
        """
        return index < size <= start and self.keys_at(size) == self.keys_at(min(start, self.size))

    def note_stamps(self, size: int, good: List[Tuple[VerifierKey, int]]) -> None:
        """Remember the times (in microseconds) that good signature lines put to this size."""
        self.stamps += [(key, size, time * 1_000_000) for key, time in good if key.kind != ED25519]

    def attestations(self) -> List[Tuple[int, int]]:
        """Return (size, time) of each checkpoint, held ones too, that a cosigner of the trust file put a time to."""
        cosigners = self.trust.cosigners if self.trust is not None else []
        return [(size, time) for key, size, time in self.stamps if key in cosigners]

    @property
    def attested(self) -> Optional[int]:
        """Return the newest time that a cosigner of the trust file put to a state of this log."""
        return max([time for _, time in self.attestations()], default=None)

    # -- step 6 --------------------------------------------------------------------------------------------

    def step_6_held(self) -> None:
        """Compare with what the receiver already holds.

        Established: every state that the receiver has seen is a prefix of this log: nothing was rewritten or
        taken back since. Both roots are rebuilt from the entries.
        """
        trust = self.trust
        if self.given_trust is not None and self.given_trust.held is not None:
            with self.findings.at("held checkpoint of the trust file"):
                self.need_prefix(*self.given_trust.held)
        for name, data in self.held:
            with self.findings.at(f"held checkpoint {name}"):
                note = parse_note(data)
                point = parse_checkpoint(note.text)
                if trust is None or point.origin != trust.origin:
                    raise Fault("held.origin", "it is of another origin")
                self.need_prefix(point.size, point.root)
                keys, others = self.keys_at(point.size), trust.cosigners + trust.authority
                faults, good = check_signatures(note, keys, others, point, "held.signature")
                for fault in faults:
                    self.findings.add(fault.code, f"held checkpoint {name}", fault.detail)
                if not faults:
                    self.note_stamps(point.size, good)

    def need_prefix(self, size: int, root: bytes) -> None:
        """Refuse a held state that is ahead of the package or is not a prefix of its log."""
        need(size <= self.size, "held.ahead", f"held size {size} is ahead of the package's {self.size}")
        need(size <= len(self.leaves), "held.not_prefix", "entries are missing")
        same = tree_root(self.leaves[:size]) == root
        need(same, "held.not_prefix", "the held root is not a prefix of this log")

    # -- step 7 --------------------------------------------------------------------------------------------

    def step_7_schemas(self) -> None:
        """Read the schemas: one for every manifest with records, none else (§11)."""
        package = self.package
        needed: Dict[str, List[int]] = {}
        for entry in self.entries:
            if entry is not None and entry.kind == "scelle/segment/v1" and entry.fields["records"]:
                needed.setdefault(entry.fields["schema"].hex(), []).append(entry.at)
        for digest, indices in needed.items():
            name = f"schemas/{digest}.json"
            there = name in package.members
            if self.expect(there, "schema.missing", name, f"schema missing, of entry {indices[0]}"):
                with self.findings.at(name):
                    data = package.read(name, MAX_SCHEMA)
                    need(sha256(data).hex() == digest, "schema.digest", "SHA-256 is not the name")
                    self.schemas[digest] = parse_schema(data)
        named = {f"schemas/{digest}.json" for digest in needed}
        for name in package.members:
            if name.startswith("schemas/"):
                self.expect(name in named, "schema.extra", name, "no manifest with records names it")
            elif not self.known_member(name):
                self.findings.add("member.unknown", name, "a member of this name is not part of a package")

    def known_member(self, name: str) -> bool:
        """Tell whether a package may have a member of this name; bundles and checkpoints: steps 3 and 5."""
        if name.startswith(("entries/", "checkpoint.", "loadfile/", "tokens/")) or name in ALWAYS:
            return True
        return name == "audit/verdict" or ITEM.fullmatch(name) is not None

    # -- step 8 --------------------------------------------------------------------------------------------

    def step_8_log(self) -> None:
        """Check every rule of the log (§4, §8).

        Established: one genesis, the one of the trust file; for each source gapless numbers, sequence numbers,
        hashes and watermarks; every erased record under one tombstone; consent where the order lives. Not
        established: that what a manifest claims (bounds, counts, watermarks) is true. A gap entry is a statement
        and no fault.
        """
        trust = self.trust
        first = self.entries[0] if self.entries else None
        is_genesis = first is not None and first.kind == "scelle/genesis/v1"
        self.expect(is_genesis, "genesis.missing", "entry 0", "entry 0 is not genesis")
        if trust is None:
            return
        checks: Dict[str, Callable[[Trust, Entry], None]] = {
            "scelle/genesis/v1": self.check_genesis,
            "scelle/segment/v1": self.check_segment,
            "scelle/gap/v1": self.check_gap,
            "scelle/count/v1": self.check_count,
            "scelle/end/v1": self.check_end,
            "scelle/request/v1": self.check_request,
            "scelle/erase/v1": self.check_erase,
            "scelle/release/v1": self.check_release,
        }
        for entry in self.entries:
            if entry is not None:
                where = f"entry {entry.at}"
                same = entry.fields["order"] == trust.order
                detail = f"an entry of order {entry.fields['order']}, not {trust.order}"
                self.expect(same, "entry.order", where, detail)
                with self.findings.at(where):
                    if entry.kind in checks:  # keys were followed in step 4
                        checks[entry.kind](trust, entry)

    def check_genesis(self, trust: Trust, entry: Entry) -> None:
        """Check that entry 0 is the genesis of the trust file."""
        f, where = entry.fields, f"entry {entry.at}"
        need(entry.at == 0, "genesis.second", "a second genesis")
        self.expect(
            entry.leaf == trust.genesis, "genesis.differs", where, "not the genesis of the trust file"
        )
        origin = "{host}/po/{order}".format(**f)
        detail = f"it is of {origin}, the trust file of {trust.origin}"
        self.expect(origin == trust.origin, "genesis.origin", where, detail)
        if trust.tag_key is not None:
            same = f["tagkey-sha256"] == sha256(trust.tag_key)
            self.expect(same, "genesis.tagkey", where, "the tag key of the trust file has another SHA-256")
        authority = f["authority"]
        same = authority in trust.authority if authority is not None else not trust.authority
        self.expect(same, "genesis.authority", where, "the authority is not that of the trust file")
        self.expect(f["prev-log"] is None, "genesis.prev_log", where, "an earlier log was not searched")

    def check_segment(self, trust: Trust, entry: Entry) -> None:
        """Check a segment's manifest against itself and against the one before it of the same source."""
        segment, where = Segment(entry), f"entry {entry.at}"
        self.segments[entry.at] = segment
        chain = self.chains.setdefault(segment.source, Chain())
        last, chain.last = chain.last, segment
        low, high = segment.seq

        def expect(condition: bool, code: str, detail: str) -> None:
            self.expect(condition, code, where, detail)

        expect(not chain.ended, "source.ended", f"a segment after the end of {segment.source}")
        if last is None:
            expect(segment.number == 0, "segment.number", "number does not start at 0")
            expect(low == 0, "segment.seq", "seq does not start at 0")
            expect(segment.prev is None, "segment.prev", "a first manifest has no prev")
            expect(segment.position[0] is None, "segment.position", "a first manifest repeats no position")
        else:
            next_number = segment.number == last.number + 1
            expect(next_number, "segment.number", f"number {segment.number} after {last.number}")
            expect(low == last.seq[1], "segment.seq", f"seq starts at {low}, not {last.seq[1]}")
            expect(segment.prev == last.leaf, "segment.prev", "prev is not the manifest before")
            expect(segment.watermark[0] == last.watermark[1], "segment.watermark", "watermark does not tile")
            repeated = segment.position[0] == last.position[1]
            expect(repeated, "segment.position", "position does not repeat the last one")
            same = (segment.profile, segment.schema_digest) == (last.profile, last.schema_digest)
            expect(same, "segment.schema", "schema or profile changed within an alias")
        count = segment.records
        need(high - low == count <= MAX_RECORDS, "segment.seq", "seq spans not the records, or over 2^20")
        expect(segment.watermark[0] < segment.watermark[1], "segment.watermark", "watermark is empty")
        earliest, latest = segment.earliest, segment.latest
        expect(segment.undated <= count, "segment.undated", "more undated than records")
        dated = earliest is not None and latest is not None
        expect(dated == (segment.undated < count), "segment.time", "bounds are `- -` where nothing is dated")
        expect((earliest is None) == (latest is None), "segment.time", "one time bound is missing")
        if earliest is not None and latest is not None:
            floored, ceiled = (
                earliest % HOUR == 0 or earliest == MIN_TIME,
                latest % HOUR == 0 or latest == MAX_TIME,
            )
            right = floored and ceiled and earliest <= latest
            expect(right, "segment.time", "time bounds are not whole hours in order")
        if count == 0:
            empty = segment.record_root == segment.index_root == EMPTY_ROOT and segment.index_size == 0
            expect(empty, "segment.empty", "a segment without records has empty trees")
            return
        segment.schema = schema = self.schemas.get(segment.schema_digest)
        if schema is not None:
            right = segment.index_size == count * len(schema.dimensions)
            expect(right, "segment.index_size", "index-size is not N x D")
            built_in = schema.digest != DOCUMENT_V1 or segment.profile == 1
            expect(built_in, "segment.schema", "scelle.document is sealed in profile 1")

    def check_gap(self, trust: Trust, entry: Entry) -> None:
        """Note a gap; one that closes another must name an open one of its source."""
        f = entry.fields
        source, closes, (start, end) = f["source"], f["closes"], f["interval"]
        need(not self.chains.get(source, Chain()).ended, "source.ended", f"a gap after the end of {source}")
        need(end is None or start <= end, "gap.interval", "a gap that ends before it starts")
        self.sources.add(source)
        gap = {
            "source": source,
            "from": start,
            "to": end,
            "cause": f["cause"],
            "lost_at_most": f["lost-at-most"],
            "closed_by": None,
        }
        if closes is not None:
            opened = self.gaps.get(closes, gap)
            is_open = opened is not gap and opened["source"] == source
            is_open = is_open and opened["to"] is None and opened["closed_by"] is None
            need(is_open, "gap.closes", "closes no open gap of its source")
            causes = dict.fromkeys((opened["cause"], gap["cause"]))
            gap.update(
                {"from": min(opened["from"], start), "cause": ", ".join(causes), "closed_by": entry.at}
            )
        self.gaps[entry.at if closes is None else closes] = gap  # one gap, however many entries speak of it

    def check_count(self, trust: Trust, entry: Entry) -> None:
        """Note an independent count; it is a claim, reported beside the proofs."""
        start, end = entry.fields["interval"]
        need(start <= end, "count.interval", "a count that ends before it starts")
        self.counts.append({key: value for key, value in entry.fields.items() if key != "order"})
        self.sources.add(entry.fields["source"])

    def check_end(self, trust: Trust, entry: Entry) -> None:
        """Close a source: no segment and no gap may follow."""
        chain = self.chains.setdefault(entry.fields["source"], Chain())
        need(not chain.ended, "source.ended", f"a second end of {entry.fields['source']}")
        chain.ended = True
        number = chain.last.number if chain.last else None
        need(entry.fields["after"] == number, "source.end", "after is not the last number")

    def check_request(self, trust: Trust, entry: Entry) -> None:
        """Note that a query was logged."""
        self.requests.add(entry.fields["request"])

    def check_erase(self, trust: Trust, entry: Entry) -> None:
        """Check a tombstone: what it names, and whether the order allowed it (§8).

        Established with consent: an authority key of the trust file signed these places. That the record named and
        the positions named belong together rests on that consent. `letter` and `order` are the platform's word.
        """
        f, where = entry.fields, f"entry {entry.at}"
        released = self.released is not None
        with self.findings.at(where):
            signer = self.authority_signature(trust, entry)
            basis = f["basis"]
            self.tombstones[basis] += 1
            need(signer is not None or basis != "consent", "tombstone.no_consent", "no consent: not signed")
            need(
                released or bool(trust.authority), "tombstone.no_consent", "no consent: nobody could give it"
            )
            need(released or basis != "release", "tombstone.no_consent", "no consent: the order lives")
            papers = basis not in ("letter", "order") or f["document"] is not None
            need(papers, "tombstone.document", f"basis {basis} names no document")
        if f["document"] is not None:
            self.documents.append(f"{where}: {f['basis']}, document {b64(f['document'])}")
        (index, leaf), (position, rc), places = f["segment"], f["record"], f["index"]
        segment = self.segments.get(index)
        if segment is None:
            raise Fault("tombstone.segment", "names no earlier segment")
        need(segment.leaf == leaf, "tombstone.segment", f"names another manifest than entry {index}")
        count = segment.records
        need(position < count, "tombstone.record", "no such record in the segment")
        need(position not in segment.erased_records, "tombstone.twice", "a second tombstone for one record")
        segment.erased_records[position] = rc
        dimensions = segment.index_size // count if segment.index_size % count == 0 else 0
        blocks = [place // count for place in places]
        right = len(blocks) == dimensions and blocks == list(range(dimensions))
        need(right, "tombstone.positions", "not one index position in each block, ascending")
        for place in places:
            fresh = place not in segment.erased_places
            self.expect(fresh, "tombstone.twice", where, "one index position in two")
            segment.erased_places.setdefault(place, position)

    def check_release(self, trust: Trust, entry: Entry) -> None:
        """Check a release: with an authority, only its signature ends the order."""
        signer = self.authority_signature(trust, entry)
        good = signer is not None or not trust.authority
        need(good, "release.unsigned", "release without valid authority-sig: the order lives")
        if self.released is None:
            self.released = entry.at, signer is not None

    # -- step 9 --------------------------------------------------------------------------------------------

    def matches(self, query: Query, source: str) -> bool:
        """Tell whether a query touches a log source: its name, or its family; other dimensions touch all."""
        if query.dimension != "source" or source == query.value:
            return True
        head, _, member = source.partition("/")
        return head == query.value and member != ""

    def step_9_what_the_query_touches(self) -> None:
        """Decide from the manifests alone which segments must be proven (§7).

        Established: which segments match. A segment whose stated bounds exclude the window is left out on the
        manifest's word, and counted.
        """
        query = self.query
        if query is None:  # step 2 has said why
            return
        for segment in self.segments.values():
            if not self.matches(query, segment.source):
                continue
            self.touched["all"] += 1
            self.note_watermark(segment)
            if segment.records == 0:
                self.touched["empty"] += 1
            elif segment.schema is not None:
                self.choose_ranges(query, segment, segment.schema)
        for source, chain in self.chains.items():
            last = chain.last
            if last is None or chain.ended or source.startswith("scelle.") or not self.matches(query, source):
                continue
            mark = last.watermark[1]
            stale = query.until is not None and mark < query.until
            stale = stale or (self.attested is not None and mark < self.attested - OPEN_AFTER)
            self.expect(
                not stale, "source.open", source, f"open since {show_time(mark)}: no end, nothing later"
            )

    def note_watermark(self, segment: Segment) -> None:
        """Count a segment that claims to have watched beyond the time of the checkpoint (§4 sets no bound).

        Such a claim is no fault, but it hides silence: the source does not look open until that time has come.
        """
        mark, clock = segment.watermark[1], self.clock()
        own = segment.source.startswith("scelle.")  # never open, whatever its watermark
        if clock is not None and not own and mark > clock[0] + 1_000_000:  # stamps are floored to seconds
            none = {"source": segment.source, "segments": 0, "until": mark}
            noted = self.ahead.setdefault(segment.source, none)
            noted.update(segments=noted["segments"] + 1, until=max(noted["until"], mark))

    def clock(self) -> Optional[Tuple[int, str]]:
        """Return the newest time of a checkpoint and whose word it is: a cosigner's if there is one, else the log's."""
        if self.attested is not None:
            return self.attested, "cosigner"
        own = [time for key, _, time in self.stamps if key.kind == MLDSA]
        return (max(own), "log") if own else None

    def choose_ranges(self, query: Query, segment: Segment, schema: Schema) -> None:
        """Choose the ranges that one segment must show."""
        if query.dimension not in schema.dimensions:
            self.touched["not_searchable"] += 1
            return
        ranges = {"dated"}
        if query.strength == "A":
            ranges = {"whole"}
        elif query.start is not None or query.until is not None:
            first, last = segment.earliest, segment.latest
            inside = first is not None and (query.until is None or first < query.until)
            inside = inside and last is not None and (query.start is None or last >= query.start)
            ranges = {"dated"} if inside else set()
            if segment.undated:
                ranges.add("undated")
        if ranges:
            self.wanted[segment.index] = ranges
        kind = "left_out" if not ranges else "searched"
        if ranges == {"undated"} and segment.earliest is not None:
            kind = "undated_only"
        self.touched[kind] += 1

    # -- step 10 -------------------------------------------------------------------------------------------

    def json_lines(self, name: str) -> Iterator[JsonLine]:
        """Read the lines of a member; check form and order; skip a line that has a fault of form."""
        previous: Tuple[Any, ...] = (-1,)
        for number, line in self.package.lines(name):
            where = f"{name} line {number}"
            with self.findings.at(where):
                value = parse_json(line)
                need(isinstance(value, dict), "json.shape", "an object is expected")
                key = LINE_FORMS[name](value)
                self.expect(key != previous, "lines.twice", where, "the same place twice")
                self.expect(key >= previous, "lines.order", where, "lines not sorted")
                previous = key
                yield number, value

    def step_10_answer(self) -> None:
        """Check the proofs segment by segment, and beside them records and withholdings.

        Established, for each range: these are all entries of the index between left and right neighbour; each
        record of a hit is the one sealed at its place.
        """
        query = self.query
        if query is None:
            return
        proofs = Ahead(self.json_lines("proofs.jsonl"))
        self.records = Ahead(self.json_lines("records.jsonl"))
        self.withheld = Ahead(self.json_lines("withheld.jsonl"))
        done: Set[int] = set()
        while proofs.head is not None:
            index = proofs.at()
            segment = self.segments.get(index)
            if index in done or segment is None or segment.schema is None or index not in self.wanted:
                number, _ = proofs.take()
                detail = f"entry {index} needs no proof for this query, or is no segment"
                self.findings.add("range.not_asked", f"proofs.jsonl line {number}", detail)
                continue
            done.add(index)
            self.drop_before(index, 0)
            shown = self.examine_ranges(query, segment, segment.schema, proofs)
            self.examine_records(query, segment, segment.schema, shown)
        for index in sorted(set(self.wanted) - done):
            self.findings.add("range.missing", f"entry {index}", "segment has no proof line")
        self.drop_before(1 << 64, 0)
        for name in self.package.members:
            if name.startswith("items/"):
                self.expect(name in self.item_names, "item.unnamed", name, "no record names this item")

    def drop_before(self, index: int, position: int) -> None:
        """Report lines of records and withholdings that no proof led to."""
        for name, lines in (("records", self.records), ("withheld", self.withheld)):
            while lines.head is not None and (lines.at(), lines.pos()) < (index, position):
                number, _ = lines.take()
                self.findings.add("lines.no_hit", f"{name}.jsonl line {number}", "there is no hit here")

    def examine_ranges(self, query: Query, segment: Segment, schema: Schema, proofs: Ahead) -> Shown:
        """Check all proof lines of one segment."""
        shown, wanted = Shown(), self.wanted[segment.index]
        seen: Set[str] = set()
        run: Optional[Run] = None
        ordinal = schema.dimensions.index(query.dimension) + 1
        while proofs.at() == segment.index:
            number, line = proofs.take()
            name = "whole" if "whole" in line else line["range"]
            where = f"proofs.jsonl line {number} (entry {segment.index})"
            if not self.expect(name in wanted, "range.not_asked", where, f"{name} is not asked for here"):
                continue
            seen.add(name)
            if name == "whole":
                shown.whole = True
                continue
            if run is None or run.name != name:
                self.finish_run(segment, ordinal, run, shown)
                run = Run(name, window_of(query, name))
            with self.findings.at(where):
                RangeLine(self, query, segment, ordinal, run, shown, where).check(line)
        self.finish_run(segment, ordinal, run, shown)
        for name in sorted(wanted - seen):
            detail = "segment has no proof line"
            if name == "undated" and segment.undated:
                detail = "undated > 0 and no undated range"
            self.findings.add("range.missing", f"entry {segment.index}", f"{detail} ({name})")
        enough = len(shown.undated) <= segment.undated
        self.expect(enough, "segment.undated", f"entry {segment.index}", "more undated records than declared")
        return shown

    def finish_run(self, segment: Segment, ordinal: int, run: Optional[Run], shown: Shown) -> None:
        """Check that a range ends at a right neighbour or at the end of its block."""
        if run is None:
            return
        shown.edges.update(run.trailing)
        closed = run.closed or run.next_position == ordinal * segment.records
        detail = "no right neighbour although the range does not end at the block's end"
        self.expect(closed, "range.no_right", f"entry {segment.index} ({run.name})", detail)

    def note_time(self, segment: Segment, where: str, time: int, place: int, shown: Shown) -> None:
        """Compare a shown time with what the manifest states."""
        if time == UNDATED:
            shown.undated.add(place)
            return
        detail = "a dated record outside the bounds of its manifest"
        self.expect(segment.covers(time), "segment.bounds", where, detail)

    def groups(self, index: int) -> Iterator[Tuple[int, List[JsonLine], List[JsonLine]]]:
        """Walk over records and withholdings of one segment side by side, by position."""
        records, withheld = self.records, self.withheld
        while index in (records.at(), withheld.at()):
            position = min(lines.pos() for lines in (records, withheld) if lines.at() == index)
            here: List[List[JsonLine]] = [[], []]
            for lines, group in ((records, here[0]), (withheld, here[1])):
                while lines.at() == index and lines.pos() == position:
                    group.append(lines.take())
            yield position, here[0], here[1]

    def examine_records(self, query: Query, segment: Segment, schema: Schema, shown: Shown) -> None:
        """Give each hit of a segment its one state, and check every produced record."""
        commitments = dict(segment.erased_records) if shown.whole else {}
        places: Any = range(segment.records) if shown.whole else shown.hits
        erased = {place for place, hit in shown.hits.items() if hit is None} | set(commitments)
        settled: Set[int] = set()
        for position, records, withheld in self.groups(segment.index):
            where = f"entry {segment.index} position {position}"
            if position not in places:
                for name, lines in (("records", records), ("withheld", withheld)):
                    for number, _ in lines:
                        self.findings.add("lines.no_hit", f"{name}.jsonl line {number}", "no hit at " + where)
                continue
            if position in erased:
                code = "tombstone.opened" if records else "withheld.erased"
                self.findings.add(code, where, "the entry is erased or opaque; this needs an opened entry")
                continue
            whole_record = [line for _, line in withheld if line["field"] is None]
            both = bool(records) and bool(whole_record)
            self.expect(not both, "hit.two_states", where, "a hit is produced and withheld")
            parts = {line["field"]: line for _, line in withheld if line["field"] is not None}
            if records:
                settled.add(position)
                self.hits["produced"] += 1
                self.fields["all"] += len(schema.fields)  # owed by the proof, whatever the line then shows
                with self.findings.at(f"records.jsonl line {records[0][0]} ({where})"):
                    hit = None if shown.whole else shown.hits[position]
                    examined = RecordLine(self, query, segment, schema, shown, position)
                    commitments[position] = examined.check(records[0][1], hit, parts)
                continue
            self.expect(not parts, "withheld.part", where, "part of a record that is not produced")
            if whole_record:
                settled.add(position)
                self.hits["withheld"] += 1
                self.kept_back.setdefault(whole_record[0]["code"], [0, 0])[0] += 1
                with self.findings.at(f"withheld.jsonl line {withheld[0][0]}"):
                    right = shown.whole == ("rc" in whole_record[0])
                    need(right, "json.keys", "`rc` stands exactly at a whole segment")
                    if shown.whole:
                        commitments[position] = parse_hex(whole_record[0]["rc"], 32, "rc")
        self.close_segment(segment, shown, places, erased, settled, commitments)

    def close_segment(
        self,
        segment: Segment,
        shown: Shown,
        places: Any,
        erased: Set[int],
        settled: Set[int],
        commitments: Dict[int, bytes],
    ) -> None:
        """Count the hits of a segment; at strength A rebuild record-root from every commitment."""
        where = f"entry {segment.index}"
        self.hits["all"] += len(places)
        self.hits["erased"] += len(erased)
        self.hits["erased_edge"] += len(shown.edges)
        for place in places:
            if place not in settled and place not in erased:
                detail = "hit is neither produced, withheld nor erased: the sum does not close"
                self.findings.add("hit.no_state", f"{where} position {place}", detail)
        if shown.whole and len(commitments) == segment.records:
            root = tree_root([commitments[place] for place in places])
            same = root == segment.record_root
            self.expect(same, "record.root", where, "records do not lead to record-root")
            enough = len(shown.undated) <= segment.undated
            self.expect(enough, "segment.undated", where, "more undated records than declared")
        for hit in shown.hits.values() if self.promises else ():
            if hit is not None:
                self.commitments[segment.source, hit[2]] = hit[0]
        for place, rc in commitments.items() if self.promises and shown.whole else ():
            self.commitments[segment.source, segment.seq[0] + place] = rc

    # -- steps 11 to 14 ------------------------------------------------------------------------------------

    def step_11_sums(self) -> None:
        """Check that the three sums close, counted from proofs and never read from a summary (§11)."""
        hits, fields, contents = self.hits, self.fields, self.contents
        closes = hits["all"] == hits["produced"] + hits["withheld"] + hits["erased"]
        self.expect(closes, "sum.hits", "package", f"hits do not close: {hits}")
        closes = fields["all"] == fields["open"] + fields["redacted"]
        self.expect(closes, "sum.fields", "package", f"fields do not close: {fields}")
        closes = contents["all"] == contents["delivered"] + contents["withheld"]
        self.expect(closes, "sum.contents", "package", f"contents do not close: {contents}")

    def step_12_audit(self) -> None:
        """Check the auditor's verdict (strength B).

        Established: a cosigner of the trust file recomputed the index of these segments from a contentless stream:
        its order, multiplicity and bounds are those of the claims. Not established: that the claims are true.
        """
        trust, query = self.trust, self.query
        if "audit/verdict" not in self.package.members:
            asked = query is not None and query.strength == "B"
            self.expect(not asked, "audit.missing", "audit/verdict", "strength B needs an auditor's verdict")
            return
        if trust is None:
            raise Fault("audit.signature_missing", "no keys to check it with")
        with self.findings.at("audit/verdict"):
            note = parse_note(self.package.read("audit/verdict", MAX_VERDICT))
            lines = note.text.decode("utf-8").split("\n")[:-1]
            head = ["scelle/audit/v1", "origin " + trust.origin]
            need(lines[:2] == head, "audit.format", "not a verdict on this log")
            audited: Set[int] = set()
            last = -1
            for line in lines[2:]:
                word, _, rest = line.partition(" ")
                number, _, leaf = rest.partition(" ")
                index = parse_decimal(number, "segment")
                rising = word == "segment" and index > last
                need(rising, "audit.format", "not `segment` lines by rising log index")
                last = index
                segment = self.segments.get(index)
                same = segment is not None and segment.leaf == parse_base64(leaf, 32, "leaf hash")
                need(same, "audit.segment", f"entry {index} is not the segment that was audited")
                audited.add(index)
            faults, good = check_signatures(note, [], trust.cosigners, None, "audit.signature")
            for fault in faults:
                raise fault
            need(bool(good), "audit.signature_missing", "no valid signature of a cosigner of the trust file")
            self.audited = audited
        if query is not None and query.strength == "B":
            for index, segment in self.segments.items():
                if segment.records and self.matches(query, segment.source):
                    done = self.audited is not None and index in self.audited
                    self.expect(
                        done, "audit.segment", f"entry {index}", "touched by the query, and not audited"
                    )

    def step_13_tokens(self) -> None:
        """List time-stamp tokens; an anchor in a manifest must be one of those shown, if any are shown."""
        tokens = [name for name in self.package.members if name.startswith("tokens/")]
        digests = {self.package.digests.get(name) for name in tokens}
        for entry in self.entries if digests else ():
            anchor = entry.fields.get("anchor") if entry is not None else None
            if entry is not None and anchor is not None:
                shown = anchor.hex() in digests
                self.expect(shown, "segment.anchor", f"entry {entry.at}", "anchor is no file of tokens/")

    def step_14_promises(self) -> None:
        """Judge promises given with --promise (§6)."""
        read: List[Tuple[str, Promise]] = []
        for name, data in self.promises:
            with self.findings.at(f"promise {name}"):
                read.append((name, self.judge_promise(data)))
        for i, (name, one) in enumerate(read):
            for other_name, other in read[i + 1 :]:
                overlap = one.source == other.source and one.low < other.high and other.low < one.high
                detail = "two promises for the same places with different roots"
                both = f"promises {name} and {other_name}"
                self.expect(not overlap or one == other, "promise.broken", both, detail)

    def judge_promise(self, data: bytes) -> Promise:
        """Tell whether a promise was kept as far as this package shows."""
        trust = self.trust
        note = parse_note(data)
        promise = parse_promise(note.text)
        if trust is None:
            raise Fault("promise.signature_missing", "no keys to check it with")
        same = promise.origin == trust.origin and promise.genesis == trust.genesis
        need(same, "promise.format", "a promise of another log")
        signers = [key for _, key in self.keys.get(ED25519, [])]
        faults, good = check_signatures(note, [], signers, None, "promise.signature")
        for fault in faults:
            raise fault
        need(bool(good), "promise.signature_missing", "not signed by the log")
        places = [(promise.source, seq) for seq in range(promise.low, promise.high)]
        rcs = [self.commitments[place] for place in places if place in self.commitments]
        last = self.chains.get(promise.source, Chain()).last
        state = "undecided: not every record of the batch was shown"
        if len(rcs) == len(places):
            need(tree_root(rcs) == promise.root, "promise.broken", "another record at one of these places")
            state = "sealed as promised; the time is undecided without a cosigner"
            sealed = [s.index for s in self.segments.values() if s.source == promise.source]
            sealed = [at for at in sealed if self.segments[at].seq[0] < promise.high]
            covering = [time for size, time in self.attestations() if all(size > at for at in sealed)]
            if covering:
                kept = min(covering) <= promise.deadline
                state = "kept" if kept else "sealed; attested after the deadline"
        elif self.attested is not None and self.attested > promise.deadline:
            there = last is not None and last.seq[1] >= promise.high
            need(there, "promise.broken", "absent from a checkpoint attested after the deadline")
        self.promise_notes.append(f"{promise.source} [{promise.low}, {promise.high}): {state}")
        return promise


def window_of(query: Query, name: str) -> Tuple[int, int]:
    """Return the times [low, high) that a range covers (§7)."""
    if name == "undated":
        return UNDATED, UNDATED + 1
    if query.start is None and query.until is None:
        return UNDATED, MAX_TIME + 1
    low = MIN_TIME if query.start is None else query.start
    return low, MAX_TIME + 1 if query.until is None else query.until


def proof_form(line: Dict[str, Any]) -> Tuple[Any, ...]:
    """Check the keys of a line of proofs.jsonl; return its sort key."""
    if "whole" in line:
        need_keys(line, "at whole", "line")
        need(line["whole"] is True, "json.shape", "whole is true or absent")
        return need_integer(line["at"], 0, MAX_TIME, "at"), "", 0
    need_keys(line, "at hits left lo proof range right", "line")
    lists = isinstance(line["hits"], list) and isinstance(line["proof"], list)
    need(lists, "json.shape", "hits and proof are lists")
    need(line["range"] in ("dated", "undated"), "json.shape", "range is dated or undated")
    low = need_integer(line["lo"], 0, MAX_TIME, "lo")
    return need_integer(line["at"], 0, MAX_TIME, "at"), line["range"], low


def record_form(line: Dict[str, Any]) -> Tuple[Any, ...]:
    """Check the keys of a line of records.jsonl; return its sort key."""
    need_keys(line, "at item p pos v" + (" k" if line.get("p") == 0 else ""), "line")
    need_integer(line["p"], 0, 1, "p")
    need(isinstance(line["item"], dict), "json.shape", "item: an object is expected")
    for path in line["item"].values():
        need_text(path, ITEM, "item")
    return need_integer(line["at"], 0, MAX_TIME, "at"), need_integer(line["pos"], 0, MAX_TIME, "pos")


def withheld_form(line: Dict[str, Any]) -> Tuple[Any, ...]:
    """Check the keys of a line of withheld.jsonl; return its sort key."""
    need_keys(line, "at code field pos" + (" rc" if "rc" in line else ""), "line")
    need_text(line["code"], CODE, "code")
    field = line["field"]
    name = "" if field is None else need_text(field, None, "field")
    place = need_integer(line["at"], 0, MAX_TIME, "at"), need_integer(line["pos"], 0, MAX_TIME, "pos")
    return (*place, field is not None, name)


LINE_FORMS: Dict[str, Callable[[Dict[str, Any]], Tuple[Any, ...]]] = {
    "proofs.jsonl": proof_form,
    "records.jsonl": record_form,
    "withheld.jsonl": withheld_form,
}


class RangeLine:
    """Check one line of a range proof: leaves, neighbours, order, paths and root (§7)."""

    def __init__(
        self,
        exam: Examination,
        query: Query,
        segment: Segment,
        ordinal: int,
        run: Run,
        shown: Shown,
        where: str,
    ) -> None:
        self.exam, self.segment, self.ordinal = exam, segment, ordinal
        self.run, self.shown, self.where = run, shown, where
        self.own_tag_only = query.dimension == "source"
        self.tag: Optional[bytes] = None
        if exam.trust is not None and exam.trust.tag_key is not None:
            identifier = segment.source if self.own_tag_only else query.value
            self.tag = index_tag(exam.trust.tag_key, query.dimension, identifier)
        self.paths: List[Tuple[int, bytes, List[bytes]]] = []  # (position in R, commitment, path)
        self.opaque: List[int] = []

    def expect(self, condition: bool, code: str, detail: str) -> bool:
        """Add a finding about this line unless the condition holds."""
        return self.exam.expect(condition, code, self.where, detail)

    def check(self, line: Dict[str, Any]) -> None:
        """Check the line and update the state of its range."""
        segment, run = self.segment, self.run
        left, right, hits, low = line["left"], line["right"], line["hits"], line["lo"]
        count = len(hits) + (left is not None) + (right is not None)
        start, end = (self.ordinal - 1) * segment.records, self.ordinal * segment.records
        if run.lines == 0:
            at_edge = left is not None or low == start
            self.expect(at_edge, "range.no_left", "no left neighbour although the block starts before")
        else:
            self.expect(left is None, "range.left_again", "only the first line has a left neighbour")
            self.expect(low == run.next_position, "range.line_gap", "lines do not follow one another")
            self.expect(not run.closed, "range.right_early", "only the last line has a right neighbour")
        run.lines += 1
        run.next_position, run.closed = low + count, right is not None
        need(count > 0, "range.empty", "a line that shows nothing")
        inside = start <= low and low + count <= end
        detail = "range goes over the edge of its block: neighbour of another dimension"
        self.expect(inside, "range.edge", detail)
        proof = [parse_hex(text, 32, "proof") for text in line["proof"]]
        hashes = [] if left is None else [self.neighbour(left, low, -1)]
        for offset, hit in enumerate(hits):
            hashes.append(self.hit(hit, low + (left is not None) + offset))
        if right is not None:
            hashes.append(self.neighbour(right, low + count - 1, 1))
        self.check_commitments()
        if self.tag is not None:
            try:
                same, why = range_root(segment.index_size, low, hashes, proof) == segment.index_root, ""
            except Fault as fault:
                same, why = False, f": {fault.detail}"
            self.expect(same, "range.root", "range root is not index-root" + why)

    def opened(self, value: Any, place: int) -> Tuple[int, int, bytes, bytes]:
        """Read an opened index entry [salt, time, seq, rc, path]; return time, seq, rc and its leaf hash."""
        segment = self.segment
        five = isinstance(value, list) and len(value) == 5
        need(five, "json.shape", "an opened entry is [salt, time, seq, rc, path]")
        salt, rc = parse_hex(value[0], 16, "index salt"), parse_hex(value[3], 32, "rc")
        time = need_integer(value[1], UNDATED, MAX_TIME, "time")
        seq = need_integer(value[2], 0, MAX_TIME, "seq")
        need(isinstance(value[4], list), "json.shape", "a path is a list")
        path = [parse_hex(text, 32, "path") for text in value[4]]
        in_segment = segment.seq[0] <= seq < segment.seq[1]
        if self.expect(in_segment, "hit.seq", f"sequence number {seq} is not of this segment"):
            position = seq - segment.seq[0]
            self.paths.append((position, rc, path))
            living = position not in segment.erased_records
            self.expect(living, "tombstone.opened", f"a record under a tombstone is opened: seq {seq}")
        self.exam.note_time(segment, self.where, time, place, self.shown)
        tag = self.tag or bytes(16)
        return time, seq, rc, index_leaf(self.ordinal, tag, index_inner(salt, time, seq, rc))

    def hit(self, hit: Any, place: int) -> bytes:
        """Check one hit; return its leaf hash."""
        shown, run, segment = self.shown, self.run, self.segment
        if isinstance(hit, str):
            leaf = parse_hex(hit, 32, "leaf hash")
            erased = place in segment.erased_places
            self.expect(erased, "tombstone.missing", f"opaque hit without tombstone, position {place}")
            self.expect(shown.hits.get(place) is None, "range.twice", f"position {place} in two ranges")
            shown.hits[place] = None
            run.trailing.append(place)
            self.opaque.append(place)
            if run.last_key is None:
                shown.edges.add(place)
            return leaf
        time, seq, rc, leaf = self.opened(hit, place)
        low, high = run.window
        self.expect(low <= time < high, "range.outside", f"hit outside the range: seq {seq}")
        in_order = run.last_key is None or run.last_key < (time, seq)
        self.expect(in_order, "range.order", f"hits not sorted by time and sequence number: seq {seq}")
        living = place not in segment.erased_places
        self.expect(living, "tombstone.opened", f"a tombstoned position is opened: {place}")
        fresh = place not in shown.hits and seq not in shown.sequence_numbers
        self.expect(fresh, "range.twice", f"a position or record twice among the hits: seq {seq}")
        shown.hits[place] = rc, time, seq
        shown.sequence_numbers.add(seq)
        run.last_key = time, seq
        run.trailing = []
        return leaf

    def neighbour(self, value: Any, place: int, side: int) -> bytes:
        """Check a neighbour (side -1 left, 1 right); return its leaf hash.

        Established: it sorts strictly outside the range, so that nothing of the range lies beyond it.
        """
        pair = isinstance(value, list) and len(value) == 2
        need(pair, "json.shape", "a neighbour is [tag, hash] or [tag, entry]")
        wide = isinstance(value[0], str) and len(value[0]) in (2, 4, 32)
        need(wide, "neighbour.prefix", "tag prefix must be 1, 2 or 16 bytes")
        shown = parse_hex(value[0], len(value[0]) // 2, "tag prefix")
        here = place not in self.segment.erased_places
        self.expect(here, "tombstone.opened", f"a neighbour at a tombstoned position {place}")
        if isinstance(value[1], list):
            need(len(shown) == 16, "neighbour.prefix", "a same-tag neighbour shows its whole tag")
            same = self.tag is None or shown == self.tag
            self.expect(same, "neighbour.opened", "a neighbour of another tag is opened")
            time, _, _, leaf = self.opened(value[1], place)
            low, high = self.run.window
            outside = time < low if side < 0 else time >= high
            self.expect(outside, "neighbour.inside", f"{SIDE[side]} neighbour is inside the range")
            return leaf
        below = parse_hex(value[1], 32, "neighbour")
        tag = self.tag
        if tag is not None:
            if shown == tag:
                raise Fault("neighbour.same_tag", "a neighbour of the same tag must show salt, time, seq, rc")
            detail = "tag shown in dimension source is not the manifest's own"
            self.expect(not self.own_tag_only, "neighbour.source_tag", detail)
            enough = 1 if shown[0] != tag[0] else 2 if shown[1:2] != tag[1:2] else 16
            exact = len(shown) == enough and shown != tag[: len(shown)]
            self.expect(exact, "neighbour.prefix", f"{len(shown)} tag bytes shown where {enough} differ")
            beyond = shown < tag[: len(shown)] if side < 0 else shown > tag[: len(shown)]
            self.expect(beyond, "neighbour.order", f"{SIDE[side]} neighbour does not sort outside the range")
        return index_leaf(self.ordinal, shown, below)

    def check_commitments(self) -> None:
        """Check that each opened entry's rc stands in R at its sequence number.

        A line that shows all N records may do so with empty paths: then record-root is rebuilt from the rcs by
        sequence number, erased ones from their tombstones. (The published packages carry paths there too; both
        prove the same.)
        """
        segment, total = self.segment, self.segment.records
        bare = not any(path for _, _, path in self.paths)
        if bare and len(self.paths) + len(self.opaque) == total:
            rcs: Dict[int, bytes] = {position: rc for position, rc, _ in self.paths}
            for place in self.opaque:
                position = segment.erased_places.get(place, -1)
                rcs.setdefault(position, segment.erased_records.get(position, b""))
            whole = sorted(rcs) == list(range(total))
            same = whole and tree_root([rcs[i] for i in range(total)]) == segment.record_root
            self.expect(same, "hit.record_root", "rcs by sequence number do not lead to record-root")
            return
        for position, rc, path in self.paths:
            try:
                same = inclusion_root(total, position, rc, path) == segment.record_root
            except Fault:
                same = False
            self.expect(same, "hit.record_root", f"rc is not in R at its seq {segment.seq[0] + position}")


SIDE = {-1: "left", 1: "right"}


def schema_faults(schema: Schema, opened: Opened) -> List[Fault]:
    """Compare the fields of a record with its schema."""
    if len(opened.values) != len(schema.fields):
        return [Fault("record.fields", "not as many fields as the schema has")]
    faults = []
    for j, value in enumerate(opened.values):
        name, kind = schema.fields[j]
        if value is not None and value.letter != kind and (value.letter != "n" or j < 2):
            faults.append(Fault("record.type", f"type of field {name} is not that of the schema"))
    return faults


def key_numbers(opened: Opened) -> List[int]:
    """Return time and sequence number of a record that shows them (fields 0 and 1 of every schema)."""
    return [int.from_bytes(value.data, "big", signed=True) for value in opened.values[:2] if value]


class RecordLine:
    """Check one produced record: commitment, types, key fields, redactions and contents (§2, §11)."""

    def __init__(
        self, exam: Examination, query: Query, segment: Segment, schema: Schema, shown: Shown, place: int
    ) -> None:
        self.exam, self.query, self.segment, self.schema, self.shown = exam, query, segment, schema, shown
        self.place = place
        self.where = f"records.jsonl (entry {segment.index} position {place})"

    def expect(self, condition: bool, code: str, detail: str) -> bool:
        """Add a finding about this record unless the condition holds."""
        return self.exam.expect(condition, code, self.where, detail)

    def check(self, line: Dict[str, Any], hit: Optional[Hit], parts: Dict[str, Any]) -> bytes:
        """Check the record against its hit (None at a whole segment); return its commitment."""
        schema = self.schema
        need(line["p"] == self.segment.profile, "record.profile", "profile is not that of the manifest")
        opened = open_record(line)
        same = hit is None or hit[0] == opened.rc
        self.expect(same, "record.rc", "rc differs: not the record that was sealed")
        for fault in schema_faults(schema, opened):
            self.expect(False, fault.code, fault.detail)
        need(len(opened.values) == len(schema.fields), "record.fields", "nothing more of it is checked")
        self.check_keys(opened, hit)
        for name in [name for name in parts if "rc" in parts[name]]:
            same = self.shown.whole and parts[name]["rc"] == opened.rc.hex()
            self.expect(same, "withheld.rc", "rc of a withheld part is not the record's")
        self.check_redactions(opened, parts)
        self.check_contents(opened, dict(line["item"]), parts)
        for name in parts:
            self.expect(False, "withheld.part", f"field {name} is open or unknown")
        return opened.rc

    def check_keys(self, opened: Opened, hit: Optional[Hit]) -> None:
        """Check time, sequence number and queried identifier: never redacted, and the hit's own."""
        segment, dimensions = self.segment, self.schema.dimensions
        keys = [0, 1] + [d for d in (dimensions.index(self.query.dimension) + 1,) if d > 1]
        closed = [self.schema.fields[j][0] for j in keys if opened.values[j] is None]
        if closed:
            raise Fault("record.key_redacted", f"key field redacted: {closed}")
        time, seq = key_numbers(opened)
        if hit is None:
            same = seq == segment.seq[0] + self.place
            self.expect(same, "record.seq", "sequence number is not that of its place")
            self.exam.note_time(segment, self.where, time, self.place, self.shown)
        else:
            self.expect(time == hit[1], "record.time", "time is not that of the index entry")
            self.expect(seq == hit[2], "record.seq", "sequence number is not that of the index entry")
        value = opened.values[keys[-1]] if len(keys) == 3 else None
        if value is not None:
            name = self.schema.fields[keys[-1]][0]
            same = value.data == self.query.value.encode("utf-8", "surrogatepass")
            self.expect(same, "record.identifier", f"key field {name} of the record is not the queried one")

    def count_redactions(self, codes: List[str]) -> None:
        """Count the closed fields of one record, and the record, by the codes of the reasons."""
        for code in codes:
            self.exam.redacted.setdefault(code, [0, 0])[0] += 1
        for code in set(codes):
            self.exam.redacted[code][1] += 1

    def check_redactions(self, opened: Opened, parts: Dict[str, Any]) -> None:
        """Check that what was asked is redacted, with `raw`, and that each redaction has its line."""
        asked, names = self.query.redact, [name for name, _ in self.schema.fields]
        closed = [name for j, name in enumerate(names) if opened.values[j] is None]
        sums = self.exam.fields
        sums["redacted"] += len(closed)
        sums["open"] += len([value for value in opened.values if value is not None])
        for name in asked:
            open_still = name in names and name not in closed
            self.expect(not open_still, "record.not_redacted", f"field {name} was to be redacted")
        if closed and "raw" in names:
            self.expect("raw" in closed, "record.raw_open", "raw is open although another field is redacted")
        raw_code = parts["raw"]["code"] if "raw" in parts else None
        reasons = {"raw"} | {asked[name] for name in closed if name in asked}
        reasons |= {parts[name]["code"] for name in closed if name in parts and name != "raw"}
        self.count_redactions([parts[n]["code"] if n in parts else asked.get(n, "-") for n in closed])
        for name in closed:
            line = parts.pop(name, None)
            sums["redacted_not_asked"] += name not in asked and name != "raw"
            if line is None:
                # The published packages give one line, `raw` with the code asked for, for raw and that field.
                stands_for = name in asked and raw_code == asked[name] and "raw" in closed
                self.expect(stands_for, "withheld.no_line", f"no line in withheld.jsonl for {name}")
                # Identifiers of other dimensions than the queried one may be redacted, but not in silence.
                plain = names.index(name) > len(self.schema.dimensions)
                self.expect(stands_for or plain, "record.key_redacted", f"key field redacted: {name}")
            elif name == "raw":
                self.expect(line["code"] in reasons, "withheld.code", "raw takes the code raw")
            else:
                same = asked.get(name, line["code"]) == line["code"]
                self.expect(same, "withheld.code", "not the code asked for")

    def check_contents(self, opened: Opened, items: Dict[str, str], parts: Dict[str, Any]) -> None:
        """Check that each open content is delivered, byte for byte, or withheld."""
        exam, schema, sums = self.exam, self.schema, self.exam.contents
        for j, value in enumerate(opened.values):
            name = schema.fields[j][0]
            if value is None or value.letter != "h" or (schema.digest == DOCUMENT_V1 and name == "chunks"):
                continue
            sums["all"] += 1
            path, line = items.pop(name, None), parts.pop(name, None)
            if path is not None:
                sums["delivered"] += 1
                self.expect(line is None, "content.two_states", f"content {name} is delivered and withheld")
                self.check_item(path, value)
            elif line is not None:
                sums["withheld"] += 1
                exam.kept_back.setdefault(line["code"], [0, 0])[1] += 1
            else:
                detail = f"contents do not close: {name} is neither delivered nor withheld"
                self.expect(False, "content.missing", detail)
        exam.item_floor = exam.item_top
        for name in items:
            self.expect(False, "item.field", f"item of field {name}, which is no open content")

    def check_item(self, path: str, value: Value) -> None:
        """Compare a member of items/ with the content that was sealed."""
        exam, match = self.exam, ITEM.fullmatch(path)
        there = path in exam.package.members
        if match is None or not self.expect(there, "item.missing", f"no member {path}"):
            return
        size, digest = int.from_bytes(value.data[32:], "big"), exam.package.digests.get(path)
        same = digest == value.data[:32].hex() and exam.package.members[path].size == size
        self.expect(same, "item.differs", f"{path} is not the content that was sealed")
        if path in exam.item_names:
            return
        exam.item_names.add(path)
        prefix, number = match.group(1), int(match.group(2))
        rising = number > exam.item_floor and number not in exam.item_numbers
        self.expect(rising, "item.order", f"production numbers do not rise: {path}")
        self.expect(exam.item_prefix in ("", prefix), "item.order", "two prefixes of production numbers")
        exam.item_prefix = prefix
        exam.item_numbers.add(number)
        exam.item_top = max(exam.item_top, number)


class Promise(NamedTuple):
    """Hold a promise to seal a batch (§6)."""

    origin: str
    genesis: bytes
    source: str
    batch: bytes
    low: int
    high: int
    root: bytes
    received: int
    deadline: int


def parse_promise(text: bytes) -> Promise:
    """Read the lines of a promise."""
    lines = [line.split(" ") for line in text.decode("utf-8", "replace").split("\n")]
    names = "scelle/promise/v1 origin genesis source batch seq batch-root received deadline".split()
    widths = [1, 2, 2, 2, 2, 3, 2, 2, 2]
    need([line[0] for line in lines] == [*names, ""], "promise.format", "not the lines of a promise")
    need([len(line) for line in lines] == [*widths, 1], "promise.format", "not the values of a promise")
    low, high = parse_decimal(lines[5][1], "seq"), parse_decimal(lines[5][2], "seq")
    need(0 < high - low <= MAX_RECORDS, "promise.format", "a batch has 1 to 2^20 records")
    return Promise(
        origin=lines[1][1],
        genesis=parse_base64(lines[2][1], 32, "genesis"),
        source=need_text(lines[3][1], ALIAS, "source"),
        batch=parse_hex(lines[4][1], 16, "batch"),
        low=low,
        high=high,
        root=parse_base64(lines[6][1], 32, "batch-root"),
        received=parse_time(lines[7][1], "received"),
        deadline=parse_time(lines[8][1], "deadline"),
    )


def check_opening(data: bytes, trust: Trust) -> Dict[str, Any]:
    """Check a proof of one record: a C2SP tlog-proof of its manifest, the record in the extra line (§11).

    Established: this record was sealed at this place of this order's log. Not established: anything about other
    records, tombstones, later rotations of keys, or how a query was answered.
    """
    head, _, rest = data.partition(b"\n\n")
    lines = head.decode("utf-8").split("\n")
    words = [line.split(" ")[0] for line in lines[:3]]
    need(
        words == [PROOF_LINE[:-1].decode(), "extra", "index"], "opening.format", "not a tlog-proof with extra"
    )
    extra = parse_json(parse_base64(lines[1][6:], None, "extra"))
    index = parse_decimal(lines[2][6:], "index")
    path = [parse_base64(line, 32, "path") for line in lines[3:]]
    need_keys(extra, "entry format index of proof record schema", "extra")
    need(extra["format"] == "scelle/opening/v1", "opening.format", "unknown format")
    note = parse_note(rest)
    point = parse_checkpoint(note.text)
    same = point.origin == trust.origin
    need(same, "checkpoint.origin", f"it is of {point.origin}, the trust file of {trust.origin}")
    others = trust.cosigners + trust.authority
    for fault in check_signatures(note, trust.log, others, point, "checkpoint.signature")[0]:
        raise fault
    entry = parse_entry(index, parse_base64(extra["entry"], None, "entry"))
    root = inclusion_root(point.size, index, entry.leaf, path)
    need(root == point.root, "opening.log", "the manifest is not in the log at its place")
    own = entry.kind == "scelle/segment/v1" and entry.fields["order"] == trust.order
    need(own, "opening.log", "the entry is no segment of this order")
    schema_bytes = parse_base64(extra["schema"], None, "schema")
    need(sha256(schema_bytes) == entry.fields["schema"], "opening.schema", "schema is not the manifest's")
    schema, record = parse_schema(schema_bytes), extra["record"]
    need(
        isinstance(record, dict) and isinstance(extra["proof"], list),
        "json.shape",
        "record is an object and proof a list",
    )
    count = need_integer(extra["of"], 1, MAX_RECORDS, "of")
    place = need_integer(extra["index"], 0, count - 1, "index")
    same = record_form(record) == (index, place) and count == entry.fields["records"]
    need(same, "opening.place", "place and number of records differ")
    need(record["p"] == int(entry.fields["profile"]), "record.profile", "profile is not the manifest's")
    opened = open_record(record)
    proof = [parse_hex(text, 32, "proof") for text in extra["proof"]]
    root = inclusion_root(count, place, opened.rc, proof)
    need(
        root == entry.fields["record-root"], "opening.record", "the record is not in record-root at its place"
    )
    for fault in schema_faults(schema, opened):
        raise fault
    segment, closed = Segment(entry), None in opened.values[:2]
    need(not closed, "record.key_redacted", "time or sequence number redacted")
    time, seq = key_numbers(opened)
    same = seq == segment.seq[0] + place and segment.seq[1] - segment.seq[0] == count
    need(same, "record.seq", "sequence number is not that of its place")
    inside = segment.covers(time) if time != UNDATED else segment.undated > 0
    need(inside, "segment.bounds", "a time that the manifest's bounds exclude")
    shown: Dict[str, str] = {}
    for (name, _), value in zip(schema.fields, opened.values):  # noqa: B905  (equal lengths; no strict= in 3.9)
        shown[ascii_only(name)] = "(redacted)" if value is None else ascii_only(show_value(value))
    return {"source": segment.source, "seq": seq, "fields": shown}


# ======================================================================================================
# Part 10. The report. Counts carry their denominators; what is not proven stands beside what is.
# ======================================================================================================


def show_time(time: Optional[int]) -> str:
    """Write microseconds since 1970 as RFC 3339 UTC, or as a plain number outside the years 1 to 9999."""
    if time is None:
        return "-"
    days, rest = divmod(time, 86_400_000_000)
    if not -719_162 <= days <= 2_932_896:
        return f"{time} us"
    era, day_of_era = divmod(days + 719_468, 146_097)  # civil calendar from days, without time zones
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    date = f"{year + era * 400 + (month > 9):04d}-{month + (3 if month < 10 else -9):02d}"
    second, micro = divmod(rest, 1_000_000)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}" + (
        f".{micro:06d}" if micro else ""
    )
    return f"{date}-{day - (153 * month + 2) // 5 + 1:02d}T{clock}Z"


def show_value(value: Value) -> str:
    """Write a value as text, derived from its canonical bytes alone."""
    data = value.data
    if value.letter in "sDj":
        return data.decode("utf-8")
    if value.letter == "i":
        return str(int.from_bytes(data, "big", signed=True))
    if value.letter == "t":
        time = int.from_bytes(data, "big", signed=True)
        return "" if time == UNDATED else show_time(time)
    if value.letter == "d":
        return repr(struct.unpack(">d", data)[0])
    if value.letter == "b":
        return "true" if data == b"\1" else "false"
    if value.letter == "h":
        return f"sha256:{data[:32].hex()} size:{int.from_bytes(data[32:], 'big')}"
    return "" if value.letter == "n" else "base64:" + b64(data)


STRENGTHS = {
    "A": "whole window: all records of the source's segments; no index, tag or time bound is relied on",
    "B": "range and audit: ranges are whole, and an auditor recomputed index and bounds from what was claimed",
    "C": "range: ranges are whole; segments left out by their time bounds rest on the manifest's word",
}
LIMITS = [
    "Nothing proves that something which never reached a recorder did not exist.",
    "A wrong account or time given at sealing is found only by opening records: strength A, sampling, promises.",
    "Reasons given for withholdings and redactions are the producer's; what they cover is not seen here.",
    "Tombstones by letter or order are the platform's word; only consent is proof, and the link between an erased",
    "    record and its index positions rests on that consent.",
    "A log could be rewritten before its first escrow, cosignature or time stamp: compare held checkpoints.",
    "loadfile/ is bound by MANIFEST and not by proof: --write-loadfile FILE makes one from the proven bytes.",
]


def build_report(exam: Examination, findings: Findings, running: str) -> Dict[str, Any]:
    """Gather the verdict and everything that is said with it, as one JSON document."""
    query, trust, package, clock = exam.query, exam.given_trust, exam.package, exam.clock()
    touched = [source for source in exam.sources if query is not None and exam.matches(query, source)]
    valid = trust is not None and findings.count == 0
    strength = query.strength if query is not None and valid else None
    return {
        "valid": valid,
        "findings": findings.listed,
        "findings_total": findings.count,
        "trusted": trust is not None,
        "strength": strength,
        "strength_meaning": STRENGTHS.get(strength or "", "none: nothing is proven"),
        "query": None if query is None else json.loads(query.data),
        "query_by": "authority" if exam.given_query is not None else "producer",
        "query_logged": query is not None and sha256(query.data) in exam.requests,
        "origin": exam.trust.origin if exam.trust else None,
        "size": exam.size,
        "root": exam.notes["checkpoint"][1].root.hex() if "checkpoint" in exam.notes else None,
        "attested": None if exam.attested is None else show_time(exam.attested),
        "attestations": attestations_of(exam),
        "cosigned": exam.cosigned,
        "hits": exam.hits,
        "fields": exam.fields,
        "contents": exam.contents,
        "segments": exam.touched,
        "watermarks_ahead": [dict(ahead, until=show_time(ahead["until"])) for ahead in exam.ahead.values()],
        "clock": None if clock is None else {"time": show_time(clock[0]), "by": clock[1]},
        "gaps": [dict(gap, entry=index) for index, gap in exam.gaps.items() if gap["source"] in touched],
        "counts": [count for count in exam.counts if count["source"] in touched],
        "tombstones": exam.tombstones,
        "documents": exam.documents,
        "released": exam.released and {"entry": exam.released[0], "signed": exam.released[1]},
        "promises": exam.promise_notes,
        "tokens": sorted(name for name in package.members if name.startswith("tokens/")),
        "loadfile": sorted(name for name in package.members if name.startswith("loadfile/")),
        "verifier": {
            "running": running,
            "trust_file": trust.verifier_sha256 if trust else None,
            "in_package": package.digests.get("scelle_verify.py"),
        },
        "limits": LIMITS,
    }


def attestations_of(exam: Examination) -> List[Dict[str, Any]]:
    """List the times that others than the log put to its states; only those of cosigners are relied on."""
    known = exam.trust.cosigners + exam.trust.authority if exam.trust else []
    listed = []
    for key, size, time in exam.stamps:
        if key in known and exam.trust is not None:
            by = "cosigner" if key in exam.trust.cosigners else "authority"
            listed.append({"by": key.name, "role": by, "size": size, "time": show_time(time)})
    return listed


def verdict_line(report: Dict[str, Any]) -> str:
    """Return the line that stands first and last."""
    stated, total = "", report["findings_total"]
    if report["query_by"] == "producer":
        stated = f"; answers the query that the producer states: {json.dumps(report['query'])}"
    if not report["trusted"]:
        inner = "inner consistency only" if total == 1 else "not even consistent with itself"
        return f"NOT VALID: no trust file was given, {inner}{stated}"
    if not report["valid"]:
        return f"NOT VALID: {total} finding(s){stated}"
    answer = stated or ": the answer to the authority's query is complete in the sense below"
    return f"VALID, strength {report['strength']}{answer}"


REPORT = """\
{head}
{attested}
strength   {strength} ({strength_meaning})

hits       {hits[all]} = {hits[produced]} produced + {hits[withheld]} withheld + {hits[erased]} erased
           of the erased, {hits[erased_edge]} at the edge of a range: may or may not match
fields     {fields[all]} of produced records = {fields[open]} open + {fields[redacted]} redacted
           of the redacted, {fields[redacted_not_asked]} were not asked for by the query
contents   {contents[all]} = {contents[delivered]} delivered + {contents[withheld]} withheld
{by_code}
segments   {segments[all]} touched = {segments[searched]} searched + {segments[undated_only]} searched for undated \
records only + {segments[left_out]} left out + {segments[not_searchable]} not searchable + {segments[empty]} empty
           left out on the manifest's word: {left_out} of {segments[all]}
           not searchable by {dimension}: {segments[not_searchable]} of {segments[all]}
tombstones {tombstones[consent]} by consent (proof); on the platform's word: {tombstones[letter]} by letter, \
{tombstones[order]} by another order, {tombstones[release]} after release"""
COUNT = "{source} by {system}: offered {offered}, sealed {sealed}, failed {failed}, excluded {excluded}, lost {lost}"


def show_gap(gap: Dict[str, Any]) -> str:
    """Write one gap: a stated interval in which a source may have been missed."""
    end = f"{show_time(gap['to'])} (closed)"
    if gap["to"] is None:
        end = "now (open)" if gap["closed_by"] is None else f"entry {gap['closed_by']} (closed)"
    lost = "unknown" if gap["lost_at_most"] is None else gap["lost_at_most"]
    return f"{gap['source']}, {show_time(gap['from'])} to {end}, cause {gap['cause']}, lost at most {lost}"


def aligned(pairs: Sequence[Tuple[str, object]]) -> List[str]:
    """Write one field a line, its value (at most 400 characters of it) behind a column of names."""
    return [f"{name:<10} {one_line(value)}" for name, value in pairs]


def one_line(text: object) -> str:
    """Return text as printable ASCII on one line, at most 400 characters of it; what is plain stays as it is."""
    whole = str(text)
    plain = "".join(c if " " <= c <= "~" else ascii_only(c) for c in whole[:400])
    return plain + (".." if len(whole) > 400 else "")


def log_lines(kind: str, origin: Optional[str], size: object, root: object) -> List[str]:
    """Say what was checked: what kind of thing, of which order and vault, under which checkpoint."""
    host, _, order = (origin or "unknown").rpartition("/po/")
    about = [("kind", kind), ("order", order), ("vault", host or "unknown")]
    return aligned([*about, ("log", origin), ("checkpoint", f"{size} entries, root {root}")])


def query_lines(report: Dict[str, Any]) -> List[str]:
    """Say what was asked, whose question it is, and whether the platform logged that it was asked."""
    query = report["query"]
    logged = "logged by the platform: " + ("yes" if report["query_logged"] else "no")
    if query is None:
        return aligned([("query", "none that can be read"), ("", logged)])
    of = query["order"]
    ends = [("from", query["from"], "inclusive"), ("until", query["until"], "exclusive")]
    period = [f"{word} {show_time(time)} ({how})" for word, time, how in ends if time is not None]
    by = "the authority's own" if report["query_by"] == "authority" else "as the producer states it"
    return aligned(
        [
            ("query", f'{query["dimension"]} = "{query["value"]}", order {of}'),
            ("", f"{by}; {logged}"),
            ("period", " ".join(period or ["all times"]) + "; undated records too"),
            ("redact", ", ".join(f"{name} ({code})" for name, code in query["redact"].items()) or "nothing"),
        ]
    )


def code_lines(name: str, form: str, counts: Dict[str, List[int]]) -> List[str]:
    """Count what is kept back by the code of the reason, one code a line."""
    said = [f"{code}: {form.format(*numbers)}" for code, numbers in sorted(counts.items())] or ["nothing"]
    return aligned([(name if text is said[0] else "", text) for text in said])


def other_order(exam: Examination) -> List[str]:
    """Say that the trust file is of another order than the package, where it is; all else follows from that."""
    trust, origin = exam.given_trust, exam.manifest_head[0]
    if trust is None or origin in ("", trust.origin):
        return []
    return [
        "THE TRUST FILE IS OF ANOTHER ORDER than the package: what else is found may follow from that alone",
        *aligned([("  trust", trust.origin), ("  package", origin)]),
    ]


def report_text(report: Dict[str, Any], exam: Examination) -> str:
    """Write the report as escaped ASCII."""
    segments, query = report["segments"], report["query"] or {}
    words = dict(report, dimension=ascii_only(query.get("dimension")))
    kind = "production package (scelle/package/v1)"
    head = log_lines(kind, report["origin"], report["size"], report["root"])
    words["head"] = "\n".join([*head, *query_lines(report)])
    by_code = code_lines("redacted", "{} fields of {} records", exam.redacted)
    by_code += code_lines("withheld", "{} records, {} contents of other records", exam.kept_back)
    words["by_code"] = "\n".join(by_code)
    attested = [
        "attested   {time}, size {size}, by {by} ({role})".format(**a) for a in report["attestations"]
    ]
    words["attested"] = "\n".join(attested) or "attested   by nobody whom the trust file names"
    words["left_out"] = segments["left_out"] + segments["undated_only"]
    out = [verdict_line(report), *other_order(exam), "", *REPORT.format(**words).split("\n")]
    out += [f"           {line}" for line in report["documents"]]
    if report["released"]:
        signed = "signed by the authority" if report["released"]["signed"] else "on the platform's word"
        out.append(f"release    entry {report['released']['entry']}, {signed}")
    out += [f"gap        {show_gap(gap)}" for gap in report["gaps"]]
    if report["watermarks_ahead"]:
        time, by = report["clock"]["time"], report["clock"]["by"]
        whose = "attested by a cosigner" if by == "cosigner" else "on the log's own word"
        out.append(f"ahead      of the newest checkpoint, {time}, {whose}:")
    for ahead in report["watermarks_ahead"]:
        said = "{source}: {segments} segment(s) claim to have watched until {until}".format(**ahead)
        out.append(f"           {said}")
    out += [f"count      {COUNT.format(**count)} (a claim)" for count in report["counts"]]
    out += [f"promise    {line}" for line in report["promises"]]
    out += [f"token      {name}: not checked here: openssl ts -verify .." for name in report["tokens"]]
    out += [f"load file  {name}: bound by MANIFEST and not by proof" for name in report["loadfile"]]
    out += [f"verifier   {name:<10} {digest}" for name, digest in report["verifier"].items()]
    same = len(set(report["verifier"].values())) == 1
    out.append(f"           {'all the same' if same else 'they differ'}; this proves nothing by itself")
    out += ["", f"findings   {report['findings_total']}"]
    out += ["  {code} | {subject} | {detail}".format(**finding) for finding in report["findings"]]
    if report["findings_total"] > len(report["findings"]):
        out.append(f"  .. {report['findings_total'] - len(report['findings'])} more")
    out += ["", "not proven", *("  " + limit for limit in report["limits"]), "", verdict_line(report)]
    return "\n".join("".join(c if " " <= c <= "~" else ascii_only(c) for c in line) for line in out)


PLAIN_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


def csv_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    A leading = + - @ ' TAB or CR gets an apostrophe before it; a plain negative number stays. Taking one leading
    apostrophe away gives the text back.
    """
    risky = text[:1] in tuple("=+-@'\t\r") and text != "" and PLAIN_NUMBER.fullmatch(text) is None
    return "'" + text if risky else text


def write_load_file(exam: Examination, out: TextIO) -> bool:
    """Write the produced records as CSV (RFC 4180, UTF-8), read again from the bytes that were just proven."""
    subject: str = "load file"
    names: List[str] = []
    if not exam.expect(exam.findings.count == 0, "loadfile.not_written", subject, "the bytes are not proven"):
        return False
    for index in sorted(exam.wanted):
        schema = exam.segments[index].schema
        names += [name for name, _ in (schema.fields if schema else []) if name not in names]
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(["source", "log index", "position", "items", *map(csv_cell, names)])
    for row in load_file_rows(exam, names):
        writer.writerow(map(csv_cell, row))
    proven = exam.findings.count == 0
    return exam.expect(proven, "loadfile.not_proven", subject, "the package changed while it was written")


def load_file_rows(exam: Examination, names: List[str]) -> Iterator[List[str]]:
    """Yield one row a produced record, in the order of records.jsonl."""
    for number, data in exam.package.lines("records.jsonl"):
        with exam.findings.at(f"records.jsonl line {number}"):
            line = parse_json(data)
            segment, cells = exam.segments[line["at"]], dict.fromkeys(names, "")
            fields = segment.schema.fields if segment.schema else []
            for (name, _), value in zip(fields, open_record(line).values):  # noqa: B905
                cells[name] = "(redacted)" if value is None else show_value(value)
            items = " ".join(sorted(set(line["item"].values())))
            yield [segment.source, str(line["at"]), str(line["pos"]), items, *cells.values()]


# ======================================================================================================
# Part 11. The command line.
# ======================================================================================================


ADVICE = {
    "read": "name a file that exists and that you may read",
    "write": "name a new file in a folder that you may write to and that has room",
}


@contextlib.contextmanager
def able_to(verb: str, what: str, path: str) -> Iterator[None]:
    """Turn a refusal of the system to read or write a named file into one line and exit code 2."""
    try:
        yield
    except OSError as error:
        raise Unreadable(f"cannot {verb} {what} {path}: {error.strerror or error}; {ADVICE[verb]}") from None


def read_given(what: str, path: str, limit: int = MAX_JSON_DOCUMENT) -> bytes:
    """Read a small file of the receiver whole."""
    with able_to("read", what, path):
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"cannot read {what} {path}: longer than {limit} bytes")
    return data


def read_trust(path: str) -> Trust:
    """Read the trust file, without which nothing can be proven."""
    data = read_given("trust file", path)
    try:
        return parse_trust(data, "trust")
    except Fault as fault:
        raise Unreadable(f"cannot read trust file {path}: {fault.detail}") from None
    except Exception as error:
        raise Unreadable(f"cannot read trust file {path}: {type(error).__name__}: {error}") from None


def running_digest() -> str:
    """Return the SHA-256 of the file that runs."""
    try:
        with open(__file__, "rb") as file:
            return sha256(file.read()).hex()
    except (OSError, NameError):
        return "unknown"


def verify_package(options: argparse.Namespace, trust: Optional[Trust]) -> Tuple[Dict[str, Any], Examination]:
    """Examine a package; return the report, and the examination that it tells of."""
    findings, path, written = Findings(), options.write_loadfile, False
    held = [(name, read_given("held checkpoint", name)) for name in options.held]
    promises = [(name, read_given("promise", name)) for name in options.promise]
    query = None if options.query is None else read_given("query", options.query)
    if trust is None:
        findings.add("trust.none", "--trust", "no trust file: inner consistency only, nothing is proven")
    with able_to("read", "package", options.package):
        file = open(options.package, "rb")
    with file:
        with able_to("read", "package", options.package):
            package = Package(file, findings)
        out: Optional[TextIO] = None
        if path is not None:
            with able_to("write", "load file", path):  # before the work, which may be long
                out = open(path, "x", encoding="utf-8", newline="")
        exam = Examination(package, findings, trust, query, held, promises)
        try:
            exam.run()
            if out is not None:
                with able_to("write", "load file", path), out:
                    complete = write_load_file(exam, out)
                written = complete  # only now: closing it writes the rest, which a full disk refuses
        finally:
            if out is not None and not written:  # a part of a load file is worse than none
                with contextlib.suppress(OSError):
                    out.close()
                with contextlib.suppress(OSError):
                    os.remove(path)
        return build_report(exam, findings, running_digest()), exam


def say(text: str) -> None:
    """Print a whole text. A reader who has seen enough (`| head`) changes neither verdict nor exit code."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of Python
        if not isinstance(error, BrokenPipeError):
            raise Unreadable(f"cannot write standard output: {error.strerror or error}") from None


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; return the exit code that the head of this file explains."""
    parser = argparse.ArgumentParser(
        prog="scelle-verify",
        description="Check a Scellé production package, offline, with this one file.",
        epilog="Exit code: 0 valid; 1 not valid; 2 a file named here, or the output, cannot be read or written.",
    )
    add = parser.add_argument
    add("package", nargs="?", help="the package, NAME.scelle, or a proof of one record")
    add("--trust", metavar="FILE", help="trust.json, as you were given it at the beginning")
    add("--query", metavar="FILE", help="query.json, the question you asked")
    add("--held", metavar="CHECKPOINT", action="append", default=[], help="a checkpoint you hold")
    add("--promise", metavar="FILE", action="append", default=[], help="a promise you hold")
    add("--opening", metavar="FILE", help="check a proof of one record instead of a package")
    add("--write-loadfile", metavar="FILE", help="write a CSV load file from the proven bytes")
    add("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(argv)
    if options.opening is None and options.package is not None and is_opening(options.package):
        options.opening, options.package = options.package, None
    if (options.package is None) == (options.opening is None):
        parser.error("give a package, or --opening FILE")
    try:
        trust = read_trust(options.trust) if options.trust is not None else None
        if options.opening is not None:
            return run_opening(options.opening, trust, options.json)
        report, exam = verify_package(options, trust)
        say(json.dumps(report, ensure_ascii=True) if options.json else report_text(report, exam))
        return 0 if report["valid"] else 1
    except Unreadable as error:
        print(f"scelle-verify: {ascii_only(error)}", file=sys.stderr)
        return 2


def is_opening(path: str) -> bool:
    """Tell by its first line whether a file is a proof of one record; one that cannot be read is none."""
    try:
        with open(path, "rb") as file:
            return file.read(len(PROOF_LINE)) == PROOF_LINE
    except (OSError, ValueError):
        return False


def opening_lines(result: Dict[str, Any], trust: Trust) -> List[str]:
    """Write what a proof of one record shows, one field a line."""
    host, _, order = trust.origin.rpartition("/po/")
    about = [("kind", "proof of one record (scelle/opening/v1)"), ("order", order), ("vault", host)]
    about += [("log", trust.origin), ("source", result["source"]), ("seq", result["seq"])]
    width = max(map(len, result["fields"]))
    shown = [f"{name:<{width}}  {value}" for name, value in result["fields"].items()]
    return [*aligned(about), "fields", *("  " + line for line in shown)]


def run_opening(path: str, trust: Optional[Trust], as_json: bool) -> int:
    """Check a proof of one record and print the result."""
    findings = Findings()
    result: Dict[str, Any] = {}
    data = read_given("opening", path, 2 * MAX_LINE)
    if trust is None:
        findings.add("trust.none", "--trust", "no trust file: nothing is proven")
    else:
        with findings.at(f"opening {path}"):
            result = check_opening(data, trust)
    valid = findings.count == 0
    if as_json:
        say(json.dumps({"valid": valid, "findings": findings.listed, "record": result}, ensure_ascii=True))
        return 0 if valid else 1
    out = [
        "VALID: this record was sealed in this log; nothing is said of any other" if valid else "NOT VALID"
    ]
    out += ["  {code} | {subject} | {detail}".format(**finding) for finding in findings.listed]
    if trust is not None and result:
        out += ["", *opening_lines(result, trust)]
    say("\n".join(out))
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
