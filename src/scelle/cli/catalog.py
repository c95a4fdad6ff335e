"""`scelle rebuild-catalog`: remake what is derived."""

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.operators.model import Power


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

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        document = rebuild(vault, session.key)
        if not session.is_solo:  # these are of all orders together
            document |= dict.fromkeys(("contents", "packs"))
    counted = "" if document["contents"] is None else f": {document['contents']} contents"
    emit(document, [f"catalog made again{counted}"], as_json)
