from contextlib import closing
from pathlib import Path

import pytest

from scelle.vault import contents
from scelle.vault.catalog import create_catalog
from scelle.vault.contents import CONTENTS_TABLES, CatalogContentIndex

from .support import KEY, sha256, text

TABLES = (CONTENTS_TABLES,)


def test_the_first_load_asks_the_catalog_only_about_likely_contents(tmp_path: Path) -> None:
    asked: list[str] = []
    with closing(create_catalog(tmp_path / "catalog.db", TABLES)) as catalog:
        before = CatalogContentIndex(catalog, KEY)
        before.add_frame("ab" * 16, 47, [(sha256(b"old"), 3)])
        before.commit()
        index = CatalogContentIndex(catalog, KEY)
        catalog.connection.set_trace_callback(
            lambda sql: asked.append(sql) if "WHERE content" in sql else None
        )
        assert not any(index.contains(sha256(text(50, seed))) for seed in range(50))
        assert not asked
        index.add_frame("ab" * 16, 97, [(sha256(b"new"), 3)])
        assert index.contains(sha256(b"old"))
        assert index.contains(sha256(b"new"))
        assert len(asked) == 2


def test_a_catalog_that_holds_much_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_FILTERED_AT_MOST", 1)
    with closing(create_catalog(tmp_path / "catalog.db", TABLES)) as catalog:
        index = CatalogContentIndex(catalog, KEY)
        index.add_frame("ab" * 16, 47, [(sha256(bytes([number])), 1) for number in range(3)])
        index.commit()
        index = CatalogContentIndex(catalog, KEY)
        assert [index.contains(sha256(bytes([number]))) for number in range(4)] == [True, True, True, False]
