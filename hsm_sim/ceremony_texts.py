"""What a ceremony says, Vietnamese first."""

from collections.abc import Mapping

SAID: Mapping[str, tuple[str, str]] = {
    "step-gather": (
        "\nBƯỚC: Có mặt. Mỗi người gõ tên mình.",
        "\nSTEP: Who is here. Everybody types their own name.",
    ),
    "step-store": (
        "\nBƯỚC: Kho khóa, phần bí mật và mã PIN. Ai đến lượt mới nhìn màn hình.",
        "\nSTEP: Store, shares and PINs. Only the person whose turn it is looks at the screen.",
    ),
    "step-roots": ("\nBƯỚC: Khóa gốc của danh sách tin cậy ({code}).", "\nSTEP: Root keys of the trust list ({code})."),
    "step-x509-root": ("\nBƯỚC: Khóa gốc của chứng thư, {code}.", "\nSTEP: Root key of the certificates, {code}."),
    "step-card-master": ("\nBƯỚC: Khóa chủ của thẻ, {code}.", "\nSTEP: Card master key, {code}."),
    "step-installation": ("\nBƯỚC: Khóa ký chung của {code}.", "\nSTEP: Signers of the installation, {code}."),
    "step-agency": ("\nBƯỚC: Khóa của cơ quan {code}.", "\nSTEP: Keys of agency {code}."),
    "step-backup": (
        "\nBƯỚC: Bản sao lưu đầu tiên, dưới một khóa riêng chia thành phần.",
        "\nSTEP: The first backup, under a key of its own in shares.",
    ),
    "step-close": ("\nBƯỚC: Niêm phong nhật ký và lập biên bản.", "\nSTEP: Seal the log and make the transcript."),
    "done-before": ("Đã xong từ lần trước: {step}", "Done before: {step}"),
    "present": ("{name}, gõ tên để xác nhận có mặt: ", "{name}, type your name to say that you are here: "),
    "not-present": ("Chưa phải tên {name}.", "That is not the name {name}."),
    "share": (
        "{name}: phần bí mật ở tệp {file}; vân tay {fingerprint}. Mang tệp đi và xóa khỏi máy này.",
        "{name}: your share is in the file {file}; fingerprint {fingerprint}. Take it away and delete it here.",
    ),
    "backup-tried": (
        "Đã dựng thử lại từ {file} và so giá trị kiểm tra của {keys} khóa: khớp hết. SHA-256 của tệp:\n{digest}",
        "Restored {file} on trial and compared the check values of {keys} keys: all the same. SHA-256 of the file:\n"
        "{digest}",
    ),
    "backup-share": (
        "{name}: phần bí mật của bản sao lưu (bộ số {split}) ở tệp {file}. Chép ra giấy, mang đi, xóa tệp khỏi máy "
        "này; cất xa bản sao lưu.",
        "{name}: your share of the backup (set {split}) is in the file {file}. Write it down, take it away, delete "
        "the file here; keep it far from the backup.",
    ),
    "share-word": (
        "{name}, từ thứ {number} trên giấy của bạn: ",
        "{name}, word {number} on your paper: ",
    ),
    "word-wrong": ("Không phải từ đó; xem lại giấy.", "Not that word; look at the paper again."),
    "new-pin": ("{name}, mã PIN mới (6 đến 64 ký tự): ", "{name}, your new PIN (6 to 64 characters): "),
    "new-pin-again": ("{name}, gõ lại: ", "{name}, once more: "),
    "pin-differs": ("Hai lần khác nhau, hoặc độ dài không đúng.", "They differ, or have the wrong length."),
    "pin": ("{name}, mã PIN của bạn: ", "{name}, your PIN: "),
    "pin-wrong": ("Sai mã PIN ({why}).", "Wrong PIN ({why})."),
    "log-key": (
        "Khóa niêm phong nhật ký, đọc to: {fingerprint}",
        "Key that seals the log, read aloud: {fingerprint}",
    ),
    "shares-wanted": (
        "Nghi lễ bị ngắt: kho đã khóa. Đã có {have} trên {needed} phần bí mật.",
        "The ceremony was torn: the store is sealed. {have} of {needed} shares are there.",
    ),
    "share-typed": ("Một người giữ nhập phần bí mật: ", "A holder enters a share: "),
    "share-wrong": ("Không nhận được: {why}", "Not taken: {why}"),
    "key": ("  {label}  ({use} {scope})  {shown}", "  {label}  ({use} {scope})  {shown}"),
    "may-leave": (
        "    {label} được phép mang đi, luôn ở dạng mã hóa",
        "    {label} may leave, always enciphered",
    ),
    "read-aloud": (
        "{name} đọc to các vân tay trên, rồi gõ 4 ký tự đầu của vân tay chung {fingerprint}: ",
        "{name} reads the fingerprints above aloud, then types the first 4 characters of all together, {fingerprint}: ",
    ),
    "read-wrong": ("Không khớp; đọc lại.", "Not the same; read again."),
    "agree": (
        "{name}, gõ tên để đồng ý tạo {label} (băm {hash}): ",
        "{name}, type your name to agree to {label} (hash {hash}): ",
    ),
    "not-agreed": ("Chưa có sự đồng ý của {name}.", "{name} has not agreed."),
    "finished": (
        "\nXong. Biên bản: {text} và {pdf}. Kiểm tra: hsm-sim ceremony-verify {text}",
        "\nDone. Transcript: {text} and {pdf}. Check it: hsm-sim ceremony-verify {text}",
    ),
    "good": (
        "chữ ký đúng; khóa niêm phong nhật ký có vân tay {fingerprint}: so với vân tay đã đọc to",
        "the signature is right; the log's key has the fingerprint {fingerprint}: compare what was read aloud",
    ),
    "good-key": ("chữ ký đúng, bằng khóa đã cho", "the signature is right, by the key given"),
}

TRANSCRIPT: Mapping[str, tuple[str, str]] = {
    "title": ("BIÊN BẢN NGHI LỄ KHÓA", "KEY CEREMONY TRANSCRIPT"),
    "installation": ("Nơi cài đặt", "Installation"),
    "agencies": ("Cơ quan", "Agencies"),
    "plan": ("Băm của kế hoạch", "Hash of the plan"),
    "persons_needed": ("Số người cho việc quan trọng", "Persons for an important operation"),
    "shares": ("Phần bí mật (cần / có)", "Shares (needed / made)"),
    "officers": ("Người giữ khóa", "Security officers"),
    "auditors": ("Kiểm soát viên", "Auditors"),
    "holders": ("Người giữ phần bí mật", "Holders of shares"),
    "leaves": ("được phép mang đi (mã hóa)", "may leave (enciphered)"),
    "witnesses": ("Người chứng kiến", "Witnesses"),
    "gather": ("Có mặt", "Present"),
    "store": ("Kho khóa", "Store"),
    "roots": ("Khóa gốc của danh sách tin cậy", "Root keys of the trust list"),
    "x509-root": ("Khóa gốc của chứng thư", "Root key of the certificates"),
    "card-master": ("Khóa chủ của thẻ (giá trị kiểm tra)", "Card master key (key check value)"),
    "installation-keys": ("Khóa ký chung", "Signers of the installation"),
    "agency": ("Khóa của cơ quan", "Keys of agency"),
    "backup": ("Bản sao lưu", "Backup"),
    "backup_file": ("Tệp và SHA-256 của tệp", "File and its SHA-256"),
    "share_set": ("Bộ phần bí mật số", "Share set"),
    "backup_share_of": ("Phần bí mật của", "Share of"),
    "words_typed": ("Mỗi người giữ đã gõ lại các từ được hỏi", "Each holder typed back the words asked for"),
    "trial": ("Dựng thử lại", "Trial restore"),
    "compared": ("khóa, giá trị kiểm tra khớp hết", "keys, all check values the same"),
    "close": ("Kết thúc", "End"),
    "persons": ("Người thực hiện", "Done by"),
    "together": ("Vân tay chung", "Fingerprint of all"),
    "share_of": ("Vân tay phần bí mật của", "Fingerprint of the share of"),
    "log_key": ("Khóa niêm phong nhật ký", "Key that seals the log"),
    "log": ("Nhật ký HSM", "Log of the HSM"),
    "lines": ("dòng", "lines"),
    "book": ("Băm của sổ nghi lễ", "Hash of the ceremony's book"),
    "sign_here": ("Chữ ký tay", "Signatures by hand"),
    "page": ("trang", "page"),
}


def both(code: str) -> str:
    """A text of the transcript in both languages, Vietnamese first."""
    return " / ".join(TRANSCRIPT[code])
