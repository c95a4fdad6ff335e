"""Throw the derived catalog away and make it again from evidence."""

from contextlib import closing
from pathlib import Path
from typing import Any

from scelle.fsck.catalog import catalog_tables, count_contents
from scelle.vault.catalog import CATALOG_NAME, create_catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend


def rebuild_catalog(vault: Path, key: VaultKey) -> dict[str, Any]:
    """Remake the catalog of the vault in folder `vault`; return what it has: contents and packs.

    The caller holds the writer's lock. Where contents stand is read from the packs' own tables; what each
    source's items were is learned again by the next pass, from the rows of its segments (`capture.store`).
    Changes no evidence. A crash leaves no catalog, or one that is filled by the next command.
    """
    with closing(create_catalog(vault / CATALOG_NAME, catalog_tables(key.vault_id))) as catalog:
        index = CatalogContentIndex(catalog, key)
        with closing(PackStore(PosixBackend(vault), key, index, background=False)) as packs:
            packs.rebuild_index()
            return {
                "contents": count_contents(catalog.connection),
                "packs": len(packs.pack_ids()),
                "items": "learned again by the next pass",
            }
