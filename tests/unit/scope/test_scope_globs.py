"""Path patterns: what each matches, what is refused, and that no pattern can be made slow."""

import time

import pytest

from scelle.errors import GlobWrong
from scelle.scope.globs import compile_glob, matches_every_path, path_text


def matches(pattern: str, path: bytes) -> bool:
    return compile_glob(pattern).fullmatch(path_text(path)) is not None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**/*", b"top.txt"),
        ("**/*", b"a/b/c.txt"),
        ("**/*", b"caf\xe9/na\xefve"),
        ("**/*", b"line\nbreak"),
        ("**", b"a/b"),
        ("*", b".hidden"),
        ("*.txt", b"a.txt"),
        ("**/*.txt", b"a.txt"),
        ("**/*.txt", b"x/y/a.txt"),
        ("hr/**", b"hr/a"),
        ("hr/**", b"hr/a/b/c"),
        ("hr/**/final/*.doc", b"hr/final/a.doc"),
        ("hr/**/final/*.doc", b"hr/2025/07/final/a.doc"),
        ("hr/**/**/x", b"hr/x"),
        ("a/**/b/**/c", b"a/b/b/c"),
        ("a/**/b/**/c", b"a/z/b/z/z/c"),
        ("?.txt", "é.txt".encode()),
        ("?.txt", "€.txt".encode()),
        ("?.txt", b"\xff.txt"),
        ("??.txt", b"\xc3\x28.txt"),
        ("[abc].txt", b"b.txt"),
        ("[a-c]*", b"cat"),
        ("[!a-c]*", b"dog"),
        ("[^a-c]*", b"dog"),
        ("[]x]", b"]"),
        ("[!]]", b"x"),
        ("[[]1]", b"[1]"),
        ("[*]", b"*"),
        ("[?]", b"?"),
        ("[a-]", b"-"),
        ("[-a]", b"-"),
        ("[éà]", "à".encode()),
        ("a\\b", b"a\\b"),
        ("(a|b)+.$^", b"(a|b)+.$^"),
        ("*a*b*", b"xxaxxbxx"),
        ("*ab", b"aab"),
        ("*a?b*", b"aaxb"),
    ],
)
def test_matches(pattern: str, path: bytes) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", b"a/b"),
        ("*.txt", b"x/a.txt"),
        ("*.txt", b"a.TXT"),
        ("hr", b"hr/a"),
        ("hr/**", b"hr"),
        ("hr/**", b"hr/"),
        ("hr/**", b"hrx/a"),
        ("hr/*", b"hr/a/b"),
        ("**/hr/*", b"xhr/a"),
        ("a/**/b", b"a/b/c"),
        ("a/**/b", b"ab"),
        ("a/**/b/**/c", b"a/c/b"),
        ("?", "e\u0301".encode()),
        ("??", "é".encode()),
        ("*??", "é".encode()),
        ("?", b""),
        ("?.txt", b"/.txt"),
        ("[a-z]", b"B"),
        ("[!a]", b"a"),
        ("a[!b]c", b"a/c"),
        ("a[.-0]c", b"a/c"),
        ("a\\*", b"ab"),
        ("*.txt", b"a.txt\n"),
    ],
)
def test_does_not_match(pattern: str, path: bytes) -> None:
    assert not matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "empty"),
        ("/srv/**", "relative"),
        ("hr/", 'write "hr/**"'),
        ("hr//x", "no component"),
        ("./x", "no component"),
        ("hr/../x", "no component"),
        ("hr**", "stands alone"),
        ("**.txt", "stands alone"),
        ("***", "stands alone"),
        ("a[b", "not closed"),
        ("a[b/c]", "not closed"),
        ("[]", "not closed"),
        ("[!]", "not closed"),
        ("[z-a]", "turned round"),
    ],
)
def test_refused(pattern: str, said: str) -> None:
    with pytest.raises(GlobWrong, match=said.replace("*", "[*]")) as caught:
        compile_glob(pattern)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "scope.glob_wrong"


@pytest.mark.parametrize(
    ("pattern", "every"),
    [("**/*", True), ("**", True), ("**/**", True), ("**/**/*", True), ("*", False), ("**/*.*", False)],
)
def test_says_which_patterns_let_everything_through(pattern: str, every: bool) -> None:
    assert matches_every_path(pattern) is every


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 20 + "*b", "**/*a*/" * 12 + "b", "**/a/" * 12 + "b", "*?" * 20 + "b", "*[!b]" * 20 + "b"],
)
@pytest.mark.parametrize("path", [b"a" * 4000, b"a/" * 2000 + b"a", b"ba" * 2000])
def test_no_pattern_is_slow(pattern: str, path: bytes) -> None:
    started = time.process_time()
    assert not matches(pattern, path)
    assert time.process_time() - started < 1  # backtracking over components would take hours
