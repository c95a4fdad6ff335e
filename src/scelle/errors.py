"""Name everything that can go wrong, by who must act on it.

The tree, from the base down::

    ScelleError
    ├── InputError       the caller must give something else        (exit code 2)
    ├── AuthorityError   a person with the right to decide must act  (exit code 2)
    ├── HeldError        an order holds the thing                    (exit code 3)
    ├── IntegrityError   evidence does not agree with itself         (exit code 1)
    ├── SourceError      a live system could not be read             (exit code 4)
    └── StorageError     the vault's own store could not be used     (exit code 4)

Only the edges map families to exit codes and sentences. Every class has a stable ``code``; a code is never
reused for another meaning. The message is one line: what, where, what to do.
"""

from typing import ClassVar


class ScelleError(Exception):
    """Base of all errors that Scellé raises on purpose."""

    code: ClassVar[str] = "scelle"


class InputError(ScelleError):
    """Say that an argument, a file or a format is not what it must be; nothing was changed."""

    code = "input"


class AuthorityError(ScelleError):
    """Say that a person with the right to decide must act first."""

    code = "authority"


class HeldError(ScelleError):
    """Say that an order holds the thing."""

    code = "held"


class IntegrityError(ScelleError):
    """Say that stored evidence does not agree with itself."""

    code = "integrity"


class SourceError(ScelleError):
    """Say that a live system could not be read."""

    code = "source"


class StorageError(ScelleError):
    """Say that the vault's own store could not be used."""

    code = "storage"


# --- formats ---------------------------------------------------------------------------------------------


class FormatError(InputError):
    """Say that bytes are not the canonical form of what they claim to be."""

    code = "formats.not_canonical"


class MemberError(IntegrityError):
    """Say that the bytes of a package member are not those that its header, or its maker, announced."""

    code = "formats.member_differs"


class ProofError(IntegrityError):
    """Say that a proof has the wrong shape or leads to another root."""

    code = "merkle.proof"


# --- vault: durable writes ---------------------------------------------------------------------------------


class StorageFull(StorageError):
    """Say that the disk has no room; what was durable before stays so."""

    code = "storage.full"


class StorageFailed(StorageError):
    """Say that the operating system refused a write; what was durable before stays so."""

    code = "storage.failed"


class StorageStopped(StorageError):
    """Say that an fsync failed: what the kernel still holds is unknown, so nothing more is written."""

    code = "storage.stopped"


# --- vault: keys, blobs, packs, catalog --------------------------------------------------------------------


class NotAVault(InputError):
    """Say that a folder holds no vault."""

    code = "vault.not_a_vault"


class VaultExists(InputError):
    """Say that a folder is a vault already, or holds something else."""

    code = "vault.exists"


class VaultTooNew(InputError):
    """Say that a vault was written in a format that this version does not know."""

    code = "vault.too_new"


class VaultSettingsWrong(InputError):
    """Say that a vault cannot be made as asked: host, key, recipients or parameters."""

    code = "vault.settings_wrong"


class KeyFileRefused(InputError):
    """Say that a key file is missing, malformed, in the vault's own folder, or readable by others."""

    code = "vault.key_file_refused"


class WrongKey(InputError):
    """Say that a key or passphrase does not open what it should: it is another one, or the sealed bytes changed."""

    code = "vault.wrong_key"


class RecoveryFailed(InputError):
    """Say that a recovery identity does not give back the vault's key."""

    code = "vault.recovery_failed"


class VaultConfigDamaged(IntegrityError):
    """Say that a vault's own description, or its recovery file, is not as it was written."""

    code = "vault.config_damaged"


class VaultBusy(StorageError):
    """Say that another process writes to the vault."""

    code = "vault.busy"


class BlobExists(StorageError):
    """Say that a write-once blob is there already and was not touched."""

    code = "storage.blob_exists"


class BlobMissing(StorageError):
    """Say that a blob is not there."""

    code = "storage.blob_missing"


class ContentMissing(IntegrityError):
    """Say that no pack of the vault holds a content."""

    code = "vault.content_missing"


class PackDamaged(IntegrityError):
    """Say that a pack is not as it was written, and where: pack id, frame number and offset in bytes."""

    code = "vault.pack_damaged"

    def __init__(self, message: str, pack: str = "", frame: int | None = None, offset: int = 0) -> None:
        super().__init__(message)
        self.pack = pack
        self.frame = frame
        self.offset = offset


class CatalogStale(StorageError):
    """Say that the catalog is missing, damaged or of another version, and must be rebuilt from evidence."""

    code = "vault.catalog_stale"


# --- ledger ------------------------------------------------------------------------------------------------


class FrameDamaged(IntegrityError):
    """Say that a sealed frame of rows or index entries is not as it was written."""

    code = "ledger.frame_damaged"


class SegmentDamaged(IntegrityError):
    """Say that a segment's files do not agree with themselves or with its manifest."""

    code = "ledger.segment_damaged"


class LogDamaged(IntegrityError):
    """Say that an order's log does not agree with its checkpoint or with the format."""

    code = "ledger.log_damaged"


class LogBehind(IntegrityError):
    """Say that the lock is behind a checkpoint that was already shown: a restored snapshot."""

    code = "ledger.restored_snapshot"


class LogBusy(StorageError):
    """Say that another writer moved the log in between."""

    code = "ledger.busy"


class ClockAhead(AuthorityError):
    """Say that the machine's clock is far from what the vault saw last: what it says would be sealed for ever."""

    code = "ledger.clock_ahead"


class EscrowInconsistent(IntegrityError):
    """Say that what a receiver of escrow holds is not a prefix of this log."""

    code = "ledger.escrow_inconsistent"


class PromiseRefused(InputError):
    """Say that no promise can be given as asked: not durable, promised already, or another use of a batch id."""

    code = "ledger.promise_refused"


class PromisesDamaged(IntegrityError):
    """Say that the promises that an order's vault keeps cannot be read."""

    code = "ledger.promises_damaged"


# --- scope -------------------------------------------------------------------------------------------------


class ClauseWrong(InputError):
    """Say that a clause cannot mean anything: a pattern, a media type, a period or its sources."""

    code = "scope.clause_wrong"


class GlobWrong(ClauseWrong):
    """Say that a path pattern is not one that Scellé reads."""

    code = "scope.glob_wrong"


class AccountsNotLoaded(ClauseWrong):
    """Say that a clause names accounts or hashes by a file that was not read from the vault."""

    code = "scope.accounts_not_loaded"


class ExpressionEngineMissing(InputError):
    """Say that a clause has a CEL expression and the package that evaluates it is not installed."""

    code = "scope.cel_missing"


# --- orders ------------------------------------------------------------------------------------------------


class OrderFileUnreadable(InputError):
    """Say that the order's file is missing, empty, too large, not UTF-8, or no regular file."""

    code = "orders.file_unreadable"


class OrderNotToml(InputError):
    """Say that the order's file is not TOML."""

    code = "orders.not_toml"


class OrderKeyUnknown(InputError):
    """Say that the order's file has a key that Scellé does not know, and would have ignored."""

    code = "orders.key_unknown"


class OrderKeyMissing(InputError):
    """Say that the order's file lacks a key without which the order cannot be kept."""

    code = "orders.key_missing"


class OrderValueWrong(InputError):
    """Say that a key of the order's file has a value of a wrong type or outside what is allowed."""

    code = "orders.value_wrong"


class OrderTypeUnknown(OrderValueWrong):
    """Say that no order type has this name."""

    code = "orders.type_unknown"


class ZoneUnknown(OrderValueWrong):
    """Say that no time zone has this name."""

    code = "orders.zone_unknown"


class OrderDatesWrong(OrderValueWrong):
    """Say that dates of the order contradict one another."""

    code = "orders.dates_wrong"


class OrderClauseWrong(OrderValueWrong):
    """Say that a clause of the order's file cannot mean anything, or that two have the same id."""

    code = "orders.clause_wrong"


class OrderSourceUnknown(OrderValueWrong):
    """Say that a clause names a source that the vault does not have."""

    code = "orders.source_unknown"


class OrderDocumentUnreadable(InputError):
    """Say that the order's document is missing, empty, too large, or no regular file."""

    code = "orders.document_unreadable"


class OrderAccountsUnreadable(InputError):
    """Say that a clause's file of accounts is missing, empty, too large, changed, or no list of identifiers."""

    code = "orders.accounts_unreadable"


class OrderHashesUnreadable(InputError):
    """Say that a clause's list of hashes is missing, empty, too large, changed, or no list of SHA-256."""

    code = "orders.hashes_unreadable"


class AuthorityKeyWrong(OrderValueWrong):
    """Say that the authority's key is no vkey of type 0x04."""

    code = "orders.authority_key_wrong"


# --- sources -----------------------------------------------------------------------------------------------


class SourceAddressError(InputError):
    """Say that a source's URL is none that Scellé reads."""

    code = "sources.address"


class SourceSecretError(InputError):
    """Say that a source's URL carries a name or a password; the message never repeats them."""

    code = "sources.secret_in_address"


class SourceMissing(SourceError):
    """Say that there is nothing at a source's address."""

    code = "sources.missing"


class SourceClosed(SourceError):
    """Say that a source may not be read at this time of day; the message says when it may."""

    code = "sources.closed"


class SourceUnreadable(SourceError):
    """Say that a source's root cannot be listed, or is of a kind that this source does not read."""

    code = "sources.unreadable"


class ItemError(SourceError):
    """Say that one item could not be read; `cause` is a stable code that an entry of the log may carry."""

    code = "sources.item"
    cause: str = "unreadable"

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        if cause:
            self.cause = cause


class ItemChanged(ItemError):
    """Say that an item was written to, or replaced, between being offered and the end of reading it."""

    code = "sources.item_changed"
    cause = "changed-while-read"


class ItemVanished(ItemError):
    """Say that an item was there when the source was listed and is not any more."""

    code = "sources.item_vanished"
    cause = "vanished"


class ItemUnreadable(ItemError):
    """Say that an item is there and the system refuses to give its bytes."""

    code = "sources.item_unreadable"


class UnitRewritten(ItemError):
    """Say that what was read of a unit before is not what stands there now: it is read from its start."""

    code = "sources.unit_rewritten"
    cause = "rewritten"


class SchemaWrong(InputError):
    """Say that a schema file cannot be used: what, in which line or key, and what to write."""

    code = "sources.schema"


# --- capture -----------------------------------------------------------------------------------------------


class CountsDoNotAddUp(ScelleError):
    """Say that a pass lost count of an item: a fault of Scellé itself."""

    code = "capture.counts"


# --- watch: metrics ------------------------------------------------------------------------------------------


class MetricsUnavailable(InputError):
    """Say that metrics cannot be shown: the library is not installed, or the address cannot be listened on."""

    code = "watch.metrics_unavailable"


# --- timestamps --------------------------------------------------------------------------------------------


class TimestampAddressWrong(InputError):
    """Say that a time-stamp authority's address is none that Scellé calls; secrets are never repeated."""

    code = "timestamps.address_wrong"


class TimestampRootsWrong(InputError):
    """Say that the certificates against which tokens are to be checked cannot be read."""

    code = "timestamps.roots_wrong"


class TimestampUnavailable(SourceError):
    """Say that no token was had this time; nothing is lost, the text stays queued."""

    code = "timestamps.unavailable"


class TimestampRefused(TimestampUnavailable):
    """Say that the authority answered, and granted nothing."""

    code = "timestamps.refused"


class TimestampAnswerWrong(TimestampUnavailable):
    """Say that the answer is no token for what was asked: unreadable, over something else, or an old one."""

    code = "timestamps.answer_wrong"


# --- orders and the vault's sources --------------------------------------------------------------------------


class OrderExists(InputError):
    """Say that an order of this id was taken in before."""

    code = "orders.exists"


class OrderUnknown(InputError):
    """Say that the vault has no such order."""

    code = "orders.unknown"


class SourceNameWrong(InputError):
    """Say that a name cannot name a source."""

    code = "sources.name_wrong"


class SourceOverlapsVault(InputError):
    """Say that a source would offer the vault's own files or its key."""

    code = "sources.overlaps_vault"


class SourceNameTaken(InputError):
    """Say that a source of this name is there already."""

    code = "sources.name_taken"


class SourceRestricted(InputError):
    """Say that what a source covers is restricted, or was once, and that nobody makes it open by adding it again."""

    code = "sources.restricted"


class SourceNameUnknown(InputError):
    """Say that no source has this name."""

    code = "sources.name_unknown"


class SourceHeld(HeldError):
    """Say that an order's clause names a source, so that it cannot be removed."""

    code = "sources.held"


# --- productions -------------------------------------------------------------------------------------------


class RequestWrong(InputError):
    """Say that a request cannot be answered as it was made: its dimension, value, period or redactions."""

    code = "productions.request_wrong"


class CopyStaysOpen(IntegrityError):
    """Say that a record has what is to be redacted in another field, too, that would stay open.

    It is found in the records, when the request is in the log already: nothing was handed over.
    """

    code = "productions.copy_open"


class PackageNameRefused(InputError):
    """Say that no package can be put where it was asked for: something is there, or the folder is not."""

    code = "productions.package_name_refused"


class ContentNotAsSealed(IntegrityError):
    """Say that the vault does not give the content that a record was sealed with; nothing was produced."""

    code = "productions.content_not_as_sealed"


class RecordNotAsSealed(IntegrityError):
    """Say that a record does not lead to the roots that the log committed to; nothing was produced."""

    code = "productions.record_not_as_sealed"


# --- find --------------------------------------------------------------------------------------------------


class QueryWrong(InputError):
    """Say that a search query cannot mean anything: its spelling, a field that no record has, or a comparison."""

    code = "find.query_wrong"


# --- guard -------------------------------------------------------------------------------------------------


class ItemUnknown(InputError):
    """Say that no sealed item has an id, and no refusal a ref."""

    code = "guard.item_unknown"


class RefusalsDamaged(IntegrityError):
    """Say that refusals of the guard, not sealed yet, are not as they were noted: they are lost."""

    code = "guard.refusals_damaged"


class GuardWrong(InputError):
    """Say that a guard cannot be planned, installed or changed as it was asked for; nothing was changed."""

    code = "guard.wrong"


# --- release: erasure, quarantine ----------------------------------------------------------------------------


class ErasureWrong(InputError):
    """Say that an erasure request cannot be taken as it was given: whom it names, its reference, its date."""

    code = "erasure.wrong"


class ErasureTooMany(InputError):
    """Say that an erasure request means so many accounts or items that somebody has to confirm it."""

    code = "erasure.too_many"


class ErasureUnknown(InputError):
    """Say that no erasure request has a reference or an id."""

    code = "erasure.unknown"


class ErasureNotDone(InputError):
    """Say that an erasure request is not completed, so that there is no certificate yet."""

    code = "erasure.not_done"


class QuarantineWrong(InputError):
    """Say that a quarantine cannot be asked for as it was given: which items, which ground."""

    code = "quarantine.wrong"


class ItemQuarantined(AuthorityError):
    """Say that an item is quarantined: it stays sealed, and leaves every query, export and reader."""

    code = "quarantine.item"


# --- restricted material -------------------------------------------------------------------------------------


class SharesWrong(InputError):
    """Say that a key cannot be split as asked, or that shares do not give the key: too few, or one is not right."""

    code = "restricted.shares"


class ShareRefused(AuthorityError):
    """Say that somebody holds no share, or that his key does not open it."""

    code = "restricted.share_refused"


class CompartmentWrong(InputError):
    """Say that a compartment cannot be made as asked: its holders, their recipients, or one is there already."""

    code = "restricted.compartment"


class CompartmentMissing(InputError):
    """Say that a clause is restricted and the vault has no compartment to put what it covers into."""

    code = "restricted.no_compartment"


class HashesOverRecords(InputError):
    """Say that a clause lists hashes and names a source of records, whose items have no content to be compared."""

    code = "restricted.hashes_over_records"


class GrantRefused(AuthorityError):
    """Say that a restricted item may not be read: nobody granted it, to somebody else, or the time is over."""

    code = "restricted.grant"


class RestrictedDamaged(IntegrityError):
    """Say that the compartment does not give what was sealed; nothing was handed out."""

    code = "restricted.damaged"


class RestrictedWrong(InputError):
    """Say that a command about restricted material cannot be done as it was given."""

    code = "restricted.wrong"


# --- operators ---------------------------------------------------------------------------------------------


class OperatorKeyRefused(InputError):
    """Say that an operator's key file is missing, malformed, open to others, or not opened by this passphrase."""

    code = "operators.key_refused"


class OperatorUnknown(InputError):
    """Say that the vault has no operator of this name."""

    code = "operators.unknown"


class OperatorNameWrong(InputError):
    """Say that a name cannot name a new operator: its form, or that it is taken."""

    code = "operators.name_wrong"


class NotAllowed(AuthorityError):
    """Say that nobody, or an operator without the right to it, asked for something."""

    code = "operators.not_allowed"


class RequestUnknown(InputError):
    """Say that there is no request of this id that the session may see."""

    code = "operators.request_unknown"


class RequestRefused(AuthorityError):
    """Say that a request cannot be approved, withdrawn or executed now; the message says why."""

    code = "operators.request_refused"


class SettingWrong(InputError):
    """Say that a setting has no such name, or a value that it cannot take."""

    code = "operators.setting_wrong"


class NoteWrong(InputError):
    """Say that a text cannot be kept as a note, or that there is no note of this number."""

    code = "operators.note_wrong"


class BehindWall(StorageError):
    """Say that something is in the way which the session may not know of; the message names nothing of it."""

    code = "operators.behind_wall"


# --- orders over time --------------------------------------------------------------------------------------


class TransitionRefused(AuthorityError):
    """Say that something cannot be recorded of an order in the state in which it is."""

    code = "orders.transition_refused"


class OrderOver(AuthorityError):
    """Say that an order was released, or is no longer asked for, so that nothing is captured or produced under it."""

    code = "orders.over"


class AmendmentWrong(InputError):
    """Say that an amendment cannot mean anything: its clauses, what it stops, whom it adds."""

    code = "orders.amendment_wrong"


# --- reports -----------------------------------------------------------------------------------------------


class TypstMissing(InputError):
    """Say that pages were asked for and typst is not installed."""

    code = "reports.typst_missing"


class ReportFileRefused(InputError):
    """Say that no report can be put where it was asked for."""

    code = "reports.file_refused"


class ReportTextMissing(ScelleError):
    """Say that a report says something for which a language has no words."""

    code = "reports.text_missing"


class ReportNotRendered(ScelleError):
    """Say that typst refused what a report gave it."""

    code = "reports.not_rendered"


# --- release ------------------------------------------------------------------------------------------------


class DisposalUnfinished(StorageError):
    """Say that a disposal cannot be certified yet, since another process still reads what was forgotten."""

    code = "release.unfinished"


# --- erasing single records --------------------------------------------------------------------------------


class EraseWrong(InputError):
    """Say that an erasure names a record, ground, basis or file that cannot be meant."""

    code = "ledger.erase_wrong"


class RecordErased(InputError):
    """Say that a record was erased already: nothing of it can be shown or erased again."""

    code = "ledger.record_erased"


class EraseRefused(AuthorityError):
    """Say that nobody allowed this erasure, or could not: the order lives (ledger.md §8)."""

    code = "ledger.erase_refused"


# --- safeguards: the gate ----------------------------------------------------------------------------------


class PolicyWrong(InputError):
    """Say that a policy cannot be read: its YAML, a rule, a condition or a statement's words."""

    code = "gate.policy_wrong"


class PolicyRefused(InputError):
    """Say that a policy may not be used, with the case that shows why: a property that it must have does not hold."""

    code = "gate.policy_refused"


class GateRequestWrong(InputError):
    """Say that the gate was asked about a factor, value or stage that there is not."""

    code = "gate.request_wrong"


class ConsentWrong(InputError):
    """Say that a consent cannot be issued as asked, or that a list of withdrawn consents cannot be read."""

    code = "gate.consent_wrong"


class GateProofWrong(IntegrityError):
    """Say that a policy's proof is not signed by the key that is named, or is not as it was signed."""

    code = "gate.proof_wrong"


# --- safeguards: the detectors -----------------------------------------------------------------------------


class DetectorWrong(InputError):
    """Say that a detector, or a file that it consists of or is given, cannot be used: a lexicon, a list, values."""

    code = "detector.wrong"


# --- safeguards: the recorder ------------------------------------------------------------------------------


class SurfaceWrong(InputError):
    """Say that a surface's name cannot be used, or that no such surface is registered."""

    code = "recorder.surface_wrong"


class RecorderUnavailable(InputError):
    """Say that a recorder cannot be started: a library is not installed, or where it is to record is not given."""

    code = "recorder.unavailable"


class GenerationUnknown(InputError):
    """Say that no generation with this id is sealed in an order that may be read."""

    code = "recorder.generation_unknown"


class SpoolBusy(StorageError):
    """Say that another recorder writes to a surface, or that more events wait than may."""

    code = "recorder.spool_busy"
