"""`scelle rebuild-catalog`: remake what is derived."""

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit


def rebuild_catalog(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Throw the catalog away and make it again from packs and segments. Changes no evidence.

    Example: scelle rebuild-catalog
    """
    from scelle.fsck.rebuild import rebuild_catalog as rebuild

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = rebuild(vault, session.key)
    emit(document, [f"catalog made again: {document['contents']} contents"], as_json)
