"""Why a door stays shut: the codes, which of them are alarms, and their texts, Vietnamese first.

Codes about bytes, signers and keys are `cardlink`'s; the ones here are what only a door can know.
"""

from enum import StrEnum

from cardlink.statements.refusal import Reason


class DoorReason(StrEnum):
    """What a door finds out by itself. Stable codes: door records and the console hang on them."""

    # the card in hand
    LINK_LOST = "link-lost"
    NOT_A_PIV_CARD = "not-a-piv-card"
    NO_CREDENTIAL = "no-credential"
    NO_CARD_KEY = "no-card-key"
    CARD_REFUSED = "card-refused"
    MALFORMED_ANSWER = "malformed-answer"
    TOO_MUCH = "too-much"
    TOO_SLOW = "too-slow"
    MECHANISM_NOT_ALLOWED = "mechanism-not-allowed"
    # its status
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    STOLEN = "stolen"
    # the rules
    UNKNOWN_CARD = "unknown-card"
    KEY_HASH_MISMATCH = "key-hash-mismatch"
    NO_RULE = "no-rule"
    NOT_THIS_AGENCY = "not-this-agency"
    DENIED = "denied-by-rule"
    OUTSIDE_CALENDAR = "outside-calendar"
    RULE_NOT_IN_FORCE = "rule-not-in-force"
    DEMANDS_MORE = "demands-more"
    # what the door has in hand
    NO_TRUST = "no-trust-list"
    NO_BUNDLE = "no-bundle"
    BUNDLE_EXPIRED = "bundle-expired"
    BUNDLE_NOT_YET_VALID = "bundle-not-yet-valid"
    NO_STATUS = "no-status"
    STATUS_EXPIRED = "status-expired"
    STALE = "stale"
    CLOCK_LOST = "clock-lost"
    ZONE_MISSING = "zone-missing"
    LOG_UNAVAILABLE = "log-unavailable"


AnyReason = Reason | DoorReason

# A card that lies, a card reported stolen: somebody should look.
ALARMS: frozenset[AnyReason] = frozenset(
    (
        DoorReason.STOLEN,
        DoorReason.KEY_HASH_MISMATCH,
        Reason.BAD_SIGNATURE,
        Reason.FORGED_STATEMENT,
        Reason.COMPROMISED_SIGNER,
        Reason.KEY_MISMATCH,
        Reason.UUID_MISMATCH,
        Reason.AGENCY_MISMATCH,
        Reason.HASH_MISMATCH,
        Reason.OUT_OF_SCOPE,
        Reason.WRONG_USE,
    )
)

_SAME_CARD = "Thẻ mang dữ liệu không phải của chính nó"

TEXTS: dict[AnyReason, tuple[str, str]] = {
    DoorReason.LINK_LOST: ("Thẻ rời đầu đọc trước khi xong", "the card left the reader too early"),
    DoorReason.NOT_A_PIV_CARD: ("Không phải thẻ cán bộ", "not a card of this system"),
    DoorReason.NO_CREDENTIAL: ("Thẻ chưa được cấp dữ liệu mở cửa", "the card holds no credential"),
    DoorReason.NO_CARD_KEY: (
        "Thẻ không dùng được khóa xác thực của mình",
        "the card cannot use its authentication key",
    ),
    DoorReason.CARD_REFUSED: ("Thẻ từ chối trả lời", "the card refused to answer"),
    DoorReason.MALFORMED_ANSWER: ("Thẻ trả lời sai quy cách", "the card's answer breaks the standard"),
    DoorReason.TOO_MUCH: ("Thẻ trả lời quá nhiều", "the card answers without end"),
    DoorReason.TOO_SLOW: ("Thẻ trả lời quá chậm", "the card took longer than this door allows"),
    DoorReason.MECHANISM_NOT_ALLOWED: (
        "Cửa này không nhận cách xác thực của thẻ",
        "this door does not accept the card's way of proving itself",
    ),
    DoorReason.REVOKED: ("Thẻ đã bị thu hồi", "the card is revoked"),
    DoorReason.SUSPENDED: ("Thẻ đang bị khóa", "the card is suspended"),
    DoorReason.STOLEN: ("Thẻ đã được báo mất cắp", "the card is reported stolen"),
    DoorReason.UNKNOWN_CARD: ("Cửa không có tên người giữ thẻ này", "this door knows nobody with this card"),
    DoorReason.KEY_HASH_MISMATCH: (
        "Thẻ mang số của thẻ khác nhưng không có khóa của thẻ đó",
        "the card carries the number of another card without its key",
    ),
    DoorReason.NO_RULE: ("Người giữ thẻ không được vào cửa này", "no rule lets this holder through this door"),
    DoorReason.NOT_THIS_AGENCY: (
        "Thẻ của cơ quan khác không được vào cửa này",
        "cards of that agency do not open this door",
    ),
    DoorReason.DENIED: ("Người giữ thẻ bị cấm vào cửa này", "a rule denies this holder"),
    DoorReason.OUTSIDE_CALENDAR: ("Ngoài giờ được vào", "outside the hours of this holder's rules"),
    DoorReason.RULE_NOT_IN_FORCE: ("Quyền vào chưa có hoặc đã hết hiệu lực", "the holder's rule is not in force now"),
    DoorReason.DEMANDS_MORE: ("Cửa này đòi thêm bước xác thực", "this door demands a further proof"),
    DoorReason.NO_TRUST: ("Cửa chưa có danh sách tin cậy", "this door has no trust list yet"),
    DoorReason.NO_BUNDLE: ("Cửa chưa có quy tắc", "this door has no rules yet"),
    DoorReason.BUNDLE_EXPIRED: ("Quy tắc của cửa đã hết hạn", "this door's rules have expired"),
    DoorReason.BUNDLE_NOT_YET_VALID: ("Quy tắc của cửa chưa có hiệu lực", "this door's rules are not valid yet"),
    DoorReason.NO_STATUS: ("Cửa chưa có danh sách trạng thái thẻ", "this door has no status list yet"),
    DoorReason.STATUS_EXPIRED: ("Danh sách trạng thái thẻ đã hết hạn", "the status list has expired"),
    DoorReason.STALE: (
        "Cửa mất liên lạc với trung tâm quá lâu",
        "this door has not heard from the centre for too long",
    ),
    DoorReason.CLOCK_LOST: ("Đồng hồ của cửa bị mất", "this door has lost its clock"),
    DoorReason.ZONE_MISSING: ("Cửa thiếu dữ liệu múi giờ", "this door lacks the rules of its time zone"),
    DoorReason.LOG_UNAVAILABLE: ("Cửa không ghi được nhật ký", "this door cannot write its log"),
    Reason.MALFORMED_CREDENTIAL: ("Dữ liệu thẻ sai quy cách", "the credential is malformed"),
    Reason.MALFORMED_IDENTITY: ("Dữ liệu nhân thân sai quy cách", "the identity statement is malformed"),
    Reason.MALFORMED_CERTIFICATE: ("Chứng thư trên thẻ sai quy cách", "the certificate is malformed"),
    Reason.MALFORMED_CHUID: ("Số thẻ (CHUID) sai quy cách", "the CHUID is malformed"),
    Reason.MALFORMED_SECURITY_OBJECT: ("Dữ liệu bảo vệ trên thẻ sai quy cách", "the security object is malformed"),
    Reason.MALFORMED_STATEMENT: ("Dữ liệu của trung tâm sai quy cách", "the statement is malformed"),
    Reason.FORGED_STATEMENT: ("Chữ ký của cơ quan cấp là giả", "the issuer's signature is forged"),
    Reason.UNKNOWN_SIGNER: ("Không rõ nơi cấp thẻ", "unknown issuer"),
    Reason.WRONG_USE: ("Khóa ký không dùng để cấp thẻ", "the signer's key is for another use"),
    Reason.OUT_OF_SCOPE: ("Nơi ký không có quyền với cơ quan này", "the signer may not speak for this agency"),
    Reason.FOREIGN_OBJECT: ("Dữ liệu không thuộc cơ quan đã ký", "the object does not belong to its signer's agency"),
    Reason.UNSUPPORTED_ALGORITHM: ("Thuật toán không được hỗ trợ", "the algorithm is not supported"),
    Reason.ALGORITHM_MISMATCH: (
        "Thuật toán không khớp với khoá ký",
        "the algorithm is not that of the signing key",
    ),
    Reason.COMPROMISED_SIGNER: ("Khóa ký đã bị lộ", "the signer's key is compromised"),
    Reason.REVOKED_SIGNER: ("Khóa ký đã hết hiệu lực", "the signer's key is no longer valid"),
    Reason.SIGNER_PERIOD: ("Ký ngoài thời hạn được ký", "signed outside the signer's period"),
    Reason.SELF_SIGNED: ("Thẻ tự ký", "the card signed itself"),
    Reason.WRONG_EKU: ("Chứng thư dùng sai mục đích", "the certificate is for another purpose"),
    Reason.WRONG_CERTIFICATE: ("Chứng thư khác loại", "a certificate of another kind"),
    Reason.NOT_YET_VALID: ("Thẻ chưa có hiệu lực", "the card is not valid yet"),
    Reason.EXPIRED: ("Thẻ đã hết hạn", "the card has expired"),
    Reason.TRUST_EXPIRED: ("Danh sách tin cậy của cửa đã hết hạn", "this door's trust list has expired"),
    Reason.BAD_SIGNATURE: (
        "Thẻ không có khóa của dữ liệu nó mang: có thể là thẻ sao chép",
        "not the card of its data: maybe a clone",
    ),
    Reason.KEY_MISMATCH: (_SAME_CARD + " (khóa)", "the keys on the card do not agree"),
    Reason.UUID_MISMATCH: (_SAME_CARD + " (số thẻ)", "the numbers on the card do not agree"),
    Reason.AGENCY_MISMATCH: (_SAME_CARD + " (cơ quan)", "the agencies on the card do not agree"),
    Reason.EXPIRY_MISMATCH: (_SAME_CARD + " (hạn dùng)", "the expiry dates on the card do not agree"),
    Reason.HASH_MISMATCH: ("Dữ liệu trên thẻ đã bị thay đổi", "an object on the card was changed"),
    Reason.THRESHOLD_NOT_MET: ("Danh sách tin cậy thiếu chữ ký", "the trust list lacks signatures"),
    Reason.OLDER: ("Dữ liệu cũ hơn dữ liệu đang có", "older than what this door has"),
    Reason.FORKED: ("Hai dữ liệu khác nhau mang cùng một số", "another content under the number this door has"),
    Reason.GAP: ("Thiếu dữ liệu ở giữa", "something is missing in between"),
    Reason.WRONG_EPOCH: ("Dữ liệu của thời kỳ khác", "of another epoch"),
    Reason.TERMINAL_STATUS: ("Không thể lấy lại việc thu hồi", "a revocation cannot be taken back"),
    Reason.UNKNOWN_LIST: ("Không rõ danh sách trạng thái của thẻ", "the card's status list is unknown"),
    Reason.BEYOND_END: (
        "Số trạng thái của thẻ nằm ngoài danh sách",
        "the card's status index is beyond the list's end",
    ),
    Reason.WRONG_LIST_LENGTH: ("Danh sách trạng thái sai độ dài", "the status list has another length"),
    Reason.WRONG_LIST_SIGNER: ("Danh sách trạng thái do nơi khác ký", "the status list is signed by another signer"),
    Reason.WRONG_NONCE: ("Câu trả lời không phải cho cửa này", "the answer is not to this door's nonce"),
    Reason.WRONG_OWNER: ("Quy tắc do cơ quan khác ký", "the rules are signed by another owner"),
    Reason.WRONG_DOOR: ("Quy tắc của cửa khác", "the rules of another door"),
    Reason.BROKEN_CHAIN: ("Nhật ký đứt chuỗi", "the log's chain is broken"),
    Reason.SHORTENED: ("Nhật ký bị cắt bớt", "the log is shortened"),
}


def text(reason: AnyReason, lang: str = "vi") -> str:
    """What a person reads for this code, in Vietnamese or English."""
    return TEXTS[reason][1 if lang == "en" else 0]
