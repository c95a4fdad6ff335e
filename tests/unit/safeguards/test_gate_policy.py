"""A policy is read strictly: what could be read in two ways is refused, with file, line and what to do."""

from pathlib import Path

import pytest

from scelle.errors import PolicyWrong
from scelle.safeguards.gate import Bundle, Detector, Outcome, Stage, default_policy, load_policy, read_policy
from tests.unit.safeguards.gate_policies import SHIPPED, changed, document, rule

ALWAYS = {"outcome": "allow", "when": "always"}


def refusal(data: bytes) -> str:
    with pytest.raises(PolicyWrong) as caught:
        read_policy(data, "p.yaml")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_shipped_policy_has_the_rules_of_the_design() -> None:
    ids = [each.id for each in default_policy().rules]
    assert ids == [
        f"R{n}"
        for n in ("010", "011", "020", "021", "030", "040", "050", "051", "060", "070", "080", "081", "999")
    ]
    assert default_policy().cumulative.id == "R090"
    assert not default_policy().submit_statements


def test_yes_and_no_are_words_and_not_truth_values() -> None:
    policy = read_policy(
        document(rule("R100", input={"outcome": "block", "when": {"person": "yes"}})).replace(
            b'"yes"', b"yes"
        ),
        "p.yaml",
    )
    assert policy.rules[0].actions[Stage.INPUT].when[0][0].values == {"yes"}


def test_at_least_and_not_take_unknown_in() -> None:
    tests = {"level": "at least L2", "consent": "not valid"}
    when = (
        read_policy(document(rule("R100", input={"outcome": "block", "when": tests})), "p")
        .rules[0]
        .actions[Stage.INPUT]
    )
    level, consent = when.when[0]
    assert level.values == {"L2", "L3", "L4", "unknown"}
    assert "unknown" in consent.values
    assert "valid" not in consent.values


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("submit_statements: no", "submit_statements: no\nid: twice", "p.yaml:7: 'id' stands twice"),
        ("title: Otherwise", "title: &name Otherwise", "anchors and aliases are not read"),
        ("title: Otherwise", "title: !!str Otherwise", "a tag"),
        ("title: Otherwise", "title: Otherwise\n    note: more", "'note' means nothing here"),
        ("    title: Otherwise\n", "", "title is missing"),
        ("outcome: allow-degraded", "outcome: permit", "'permit' must be one of allow"),
        ("hash_hit: opt-out", "hash_hit: opted", "hash_hit cannot be 'opted'"),
        ("hash_hit: opt-out", "delta: increased", "delta exists only at the output stage"),
        ("hash_hit: opt-out", "prompt: coat", "prompt is no factor"),
        ("hash_hit: opt-out", "op: at least edit", "have no one order"),
        ("hash_hit: opt-out", "tier: at least paid", "no rule may speak of tier"),
        ("when: {hash_hit: opt-out, level: at least L1}", "when: {}", "must name a factor"),
        ("when: {hash_hit: opt-out, level: at least L1}", "when: []", "must have an alternative"),
        ("{outcome: allow-degraded, when", "{outcome: allow-degraded, lane: restricted, when", "take the lane out"),
        ("id: R999", "id: r999", "must be a capital letter"),
        ("id: default", "id: Default policy", "must be lower-case letters"),
        ("format: scelle-policy/1", "format: scelle-policy/2", "must be one of scelle-policy/1"),
        ("KEYWORD_NON_CONSENSUAL_MATERIAL_DEEPFAKE", "KEYWORD_NO_SUCH", "'KEYWORD_NO_SUCH' must be one of"),
        ("STATEMENT_CATEGORY_CYBER_VIOLENCE", "STATEMENT_CATEGORY_CYBER_VIOLENCE_AGAINST_WOMEN", "must be one of"),
        ("The owner of the picture", "By {prompt} the owner", "'{prompt}' is not filled in"),
        ("The owner of the picture", "Ask @somebody, the owner", "no personal data"),
        ("    incompatible_content_explanation: The owner", "    decision_facts: The owner", "stands twice"),
        ("rules:\n", "rules: {}\nmore:\n", "'more' means nothing here"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line(old: str, new: str, said: str) -> None:
    text = refusal(changed(old, new))
    assert said in text
    assert text.startswith("p.yaml:")


def test_the_line_is_the_line_of_the_mistake() -> None:
    line = SHIPPED[: SHIPPED.index("allow-degraded")].count("\n") + 1
    assert refusal(changed("outcome: allow-degraded", "outcome: permit")).startswith(f"p.yaml:{line}: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [1, 2", "not YAML"),
        (b"a: 1\n---\nb: 2\n", "not YAML"),
        (b"- 1", "must be a mapping"),
        (b"[" * 5000, "nested deeper"),
        (b"a: " + b"x" * (1 << 20), "are no policy"),
        (b"? [a]\n: b", "every key is a text"),
        (b"a: \x00", "not YAML"),
    ],
)
def test_what_is_no_policy_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(data)


def test_a_table_too_large_to_prove_is_refused() -> None:
    apart = [
        rule(f"R{100 + number}", output={"outcome": "allow", "when": {name: value}})
        for number, (name, value) in enumerate(
            (name, value)
            for name, values in {
                "op": ("t2i", "edit", "inpaint", "compose", "video"),
                "level": ("L0", "L1", "L2", "L3", "L4"),
                "consent": ("valid", "none", "expired", "wrong-subject", "invalid", "withdrawn"),
                "hash_hit": ("none", "opt-out", "own-prior-block", "ncii", "csam"),
                "exposure": ("E0", "E1", "E2", "E3"),
                "minor": ("n/a", "no", "yes"),
                "owner_control": ("allow", "unset", "deny"),
                "person": ("no", "yes"),
                "named": ("no", "yes"),
                "delta": ("not-increased", "increased"),
            }.items()
            for value in values
        )
    ]
    from scelle.safeguards.gate.compile import compile_table

    policy = read_policy(document(*apart, rule("R999", output=ALWAYS)), "p.yaml")
    with pytest.raises(PolicyWrong, match="join values that are treated alike"):
        compile_table(policy, Stage.OUTPUT)


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(SHIPPED, encoding="utf-8")
    assert load_policy(path).digest == default_policy().digest
    with pytest.raises(PolicyWrong, match="correct its name"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(PolicyWrong, match="no regular file"):
        load_policy(tmp_path)


def test_the_digest_is_of_what_is_said_and_not_of_the_layout() -> None:
    same = read_policy(b"# a comment\n" + SHIPPED.encode(), "other.yaml")
    other = read_policy(changed("title: Otherwise", "title: Whatever else"), "p.yaml")
    assert same.digest == default_policy().digest != other.digest


def test_every_part_of_a_bundle_changes_its_digest() -> None:
    digest, other = "0" * 64, "1" * 64
    bundles = [
        Bundle(default_policy()),
        Bundle(read_policy(changed("version: 1\nsubmit", "version: 2\nsubmit"), "p")),
        Bundle(default_policy(), (Detector("text", "1", digest),)),
        Bundle(default_policy(), (Detector("text", "1", other),)),
        Bundle(default_policy(), (Detector("text", "2", digest),)),
        Bundle(default_policy(), thresholds={"text": 0.5}),
        Bundle(default_policy(), thresholds={"text": 0.6}),
        Bundle(default_policy(), normaliser="2"),
        Bundle(default_policy(), lexicons={"fr": digest}),
        Bundle(default_policy(), hash_lists={"operator": digest}),
        Bundle(default_policy(), code_version="other"),
    ]
    assert len({each.digest for each in bundles}) == len(bundles)
    with pytest.raises(PolicyWrong, match="SHA-256"):
        Bundle(default_policy(), lexicons={"fr": "short"})


@pytest.mark.parametrize("lane", [{}, {"lane": "none"}, {"lane": "restricted"}])
def test_quarantine_goes_to_the_reporting_lane_whatever_is_written(lane: dict[str, str]) -> None:
    when = {"outcome": "quarantine", "when": {"hash_hit": "csam"}, **lane}
    action = read_policy(document(rule("R100", input=when)), "p.yaml").rules[0].actions[Stage.INPUT]
    assert (action.outcome, action.lane.text) == (Outcome.QUARANTINE, "reporting")
