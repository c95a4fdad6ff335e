"""Write what a person is told of an erasure request, in French and in English (pure; GDPR Articles 12, 17, 18).

The neutral text is the same for whatever lawful reason an erasure has to wait: it names no order and implies none, and
counts nothing. Each template has a version and a hash, sealed with the request.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from scelle.orders.types import ErasureBasis

TEMPLATES_VERSION: Final = "1"


class Language(StrEnum):
    """The languages in which letters are written."""

    FR = "fr"
    EN = "en"


class Variant(StrEnum):
    """What a letter says: everything is erased; something waits, on which ground; something waits."""

    EXECUTED = "executed"
    REASONED = "reasoned"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """What a letter needs to know; `grounds` only for the reasoned variant, `extended_to` where time was extended."""

    reference: str
    received: date
    written: date
    extended_to: date | None = None
    grounds: Collection[str] = ()


def letter(variant: Variant, language: Language, facts: LetterFacts) -> str:
    """Return the text of a letter; the same facts give the same bytes."""
    parts = _PARTS[language]
    day = _french_day if language is Language.FR else _english_day
    body = parts[variant.value].format(
        grounds="\n".join(parts[f"ground {ground}"] for ground in sorted(facts.grounds))
    )
    extended = ""
    if facts.extended_to is not None:
        extended = parts["extended"].format(until=day(facts.extended_to))
    return parts["frame"].format(
        reference=facts.reference,
        received=day(facts.received),
        written=day(facts.written),
        body=body + extended,
        rights=parts["done rights" if variant is Variant.EXECUTED else "rights"],
    )


def certificate_text(certificate: Mapping[str, Any]) -> str:
    """Return a certificate of erasure for people, in French and in English."""
    return _CERTIFICATE.format(
        **certificate, **{f"log_{name}": each for name, each in certificate["log"].items()}
    )


def template_digest(language: Language) -> str:
    """Return the SHA-256, in hex, of all that letters in a language are made of."""
    state = sha256(f"scelle/letters/v{TEMPLATES_VERSION}\n{language}\n".encode())
    for name, text in sorted(_PARTS[language].items()):
        state.update(f"{name}\0{text}\0".encode())
    return state.hexdigest()


def templates() -> dict[str, dict[str, str]]:
    """Return version and hash of the templates, by language, as they are sealed."""
    return {str(each): {"version": TEMPLATES_VERSION, "sha256": template_digest(each)} for each in Language}


_FRENCH_MONTHS: Final = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]
_ENGLISH_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def _french_day(day: date) -> str:
    number = "1er" if day.day == 1 else str(day.day)
    return f"{number} {_FRENCH_MONTHS[day.month - 1]} {day.year}"


def _english_day(day: date) -> str:
    return f"{day.day} {_ENGLISH_MONTHS[day.month - 1]} {day.year}"


_FR: Final = {
    "frame": """\
Votre demande d'effacement
Référence : {reference}
Date : {written}

Madame, Monsieur,

Vous nous avez demandé, par une demande reçue le {received}, l'effacement de données à caractère personnel
vous concernant (article 17 du règlement (UE) 2016/679, « RGPD »).

{body}
{rights}
Veuillez agréer, Madame, Monsieur, l'expression de nos salutations distinguées.
""",
    "executed": """\
Il a été fait droit à votre demande. Les données éventuellement associées aux identifiants que vous nous avez
indiqués ont été effacées ; aucune n'est conservée au titre d'une exception prévue à l'article 17, paragraphe 3,
du RGPD.
""",
    "reasoned": """\
Les données qui pouvaient être effacées l'ont été. D'autres ne peuvent pas l'être pour l'instant, pour le motif
indiqué ci-après :
{grounds}
Le traitement de ces données est limité (article 18 du RGPD) : elles sont conservées et ne font l'objet d'aucune
autre utilisation, sauf dans les cas prévus par l'article 18, paragraphe 2. Elles ne sont plus visibles dans le
service. Elles seront effacées dès qu'aucun motif prévu par la loi ne s'y opposera plus ; vous n'avez pas à
renouveler votre demande, et nous vous en informerons auparavant.
""",
    "neutral": """\
Les données qui pouvaient être effacées l'ont été. L'effacement d'éventuelles données restantes n'a pas encore pu
être effectué : les conditions de l'article 17 du RGPD, y compris les exceptions de son paragraphe 3, s'apprécient
donnée par donnée, et certaines opérations d'effacement ne peuvent avoir lieu qu'à un terme déterminé.
Dans l'intervalle, le traitement de ces données est limité (article 18 du RGPD) : elles sont seulement conservées
et ne sont plus visibles dans le service. Elles seront effacées dès que leur effacement sera possible ; vous
n'avez pas à renouveler votre demande. La présente réponse est rédigée dans les mêmes termes quelle que soit la
raison pour laquelle un effacement doit attendre.
""",
    "extended": """\
Compte tenu de la complexité ou du nombre des demandes, le délai de réponse a été prolongé jusqu'au {until}
(article 12, paragraphe 3, du RGPD).
""",
    "rights": """\
Si vous contestez cette réponse, vous pouvez introduire une réclamation auprès d'une autorité de contrôle,
notamment dans l'État membre de votre résidence habituelle, de votre lieu de travail ou du lieu de la violation
alléguée (article 77 du RGPD) ; en France, il s'agit de la Commission nationale de l'informatique et des libertés
(CNIL). Vous pouvez aussi former un recours juridictionnel (article 79 du RGPD).
""",
    "done rights": """\
Si vous estimez que votre demande n'a pas été entièrement satisfaite, vous pouvez introduire une réclamation
auprès d'une autorité de contrôle (article 77 du RGPD), en France la Commission nationale de l'informatique et
des libertés (CNIL), ou former un recours juridictionnel (article 79 du RGPD).
""",
    f"ground {ErasureBasis.UNION_LAW.value}": """\
- leur conservation est nécessaire au respect d'une obligation légale à laquelle nous sommes soumis en vertu du
  droit de l'Union ou du droit d'un État membre (article 17, paragraphe 3, point b), du RGPD).""",
    f"ground {ErasureBasis.UK_LAW.value}": """\
- leur conservation est nécessaire au respect d'une obligation légale à laquelle nous sommes soumis en vertu du
  droit du Royaume-Uni (article 17, paragraphe 3, point b), du UK GDPR ; autorité de contrôle : Information
  Commissioner's Office).""",
    f"ground {ErasureBasis.CLAIMS.value}": """\
- leur conservation est nécessaire à la constatation, à l'exercice ou à la défense de droits en justice
  (article 17, paragraphe 3, point e), du RGPD).""",
}

_EN: Final = {
    "frame": """\
Your request for erasure
Reference: {reference}
Date: {written}

Dear Sir or Madam,

By a request received on {received} you asked us to erase personal data concerning you (Article 17 of
Regulation (EU) 2016/679, "GDPR").

{body}
{rights}
Yours faithfully
""",
    "executed": """\
Your request has been granted. The data associated with the identifiers that you gave us, as far as there were any,
have been erased; none are kept under an exception of Article 17(3) GDPR.
""",
    "reasoned": """\
The data that could be erased have been erased. Other data cannot be erased at present, on the ground given here:
{grounds}
Processing of these data is restricted (Article 18 GDPR): they are stored and used for nothing else, except in the
cases of Article 18(2). They are no longer visible in the service. They will be erased as soon as no ground provided
by law stands against it; you need not repeat your request, and we will inform you beforehand.
""",
    "neutral": """\
The data that could be erased have been erased. The erasure of any remaining data could not be carried out yet:
the conditions of Article 17 GDPR, including the exceptions of its paragraph 3, are examined item by item, and
some erasures can only take place at a set time.
Meanwhile processing of these data is restricted (Article 18 GDPR): they are stored only and are no longer visible
in the service. They will be erased as soon as their erasure is possible; you need not repeat your request. This
answer is worded alike whatever the reason for which an erasure has to wait.
""",
    "extended": """\
Taking into account the complexity or the number of requests, the time for answering was extended until {until}
(Article 12(3) GDPR).
""",
    "rights": """\
If you disagree with this answer, you may lodge a complaint with a supervisory authority, in particular in the
Member State of your habitual residence, place of work or place of the alleged infringement (Article 77 GDPR).
You also have the right to a judicial remedy (Article 79 GDPR).
""",
    "done rights": """\
If you consider that your request was not fully met, you may lodge a complaint with a supervisory authority
(Article 77 GDPR), or seek a judicial remedy (Article 79 GDPR).
""",
    f"ground {ErasureBasis.UNION_LAW.value}": """\
- keeping them is necessary for compliance with a legal obligation to which we are subject under Union or Member
  State law (Article 17(3)(b) GDPR).""",
    f"ground {ErasureBasis.UK_LAW.value}": """\
- keeping them is necessary for compliance with a legal obligation to which we are subject under domestic law of
  the United Kingdom (Article 17(3)(b) UK GDPR; supervisory authority: the Information Commissioner's Office).""",
    f"ground {ErasureBasis.CLAIMS.value}": """\
- keeping them is necessary for the establishment, exercise or defence of legal claims (Article 17(3)(e) GDPR).""",
}

_PARTS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({
    Language.FR: MappingProxyType(_FR), Language.EN: MappingProxyType(_EN)
})  # fmt: skip

_CERTIFICATE: Final = """\
ATTESTATION D'EFFACEMENT / CERTIFICATE OF ERASURE

Référence / reference          {reference}
Demande / request              {id}
Reçue / received               {received}
Enregistrée / recorded         {recorded}
Achevée / completed            {completed}

Éléments effacés / items erased             {executed}
  dont immédiatement / of these at once     {executed_at_once}
Éléments différés / items deferred          {deferred}

FR  Plus aucun des éléments visés par cette demande n'est conservé ici, pour quelque motif que ce soit. Les identifiants
    qu'elle indiquait ont été rendus illisibles. Les autres copies de ces données (services, sauvegardes de la
    plateforme) relèvent des procédures propres de la plateforme et ne sont pas attestées ici.
    « Scellé » désigne un scellement cryptographique réalisé par la plateforme, et non un scellé judiciaire.
EN  None of the items of this request is kept here any more, on whatever ground. The identifiers that it named were made
    unreadable. Other copies of these data (services, the platform's own backups) are a matter of the platform's own
    procedures and are not certified here.

Journal / log   {log_origin}
                {log_size} entrées / entries, racine / root {log_root}
"""
