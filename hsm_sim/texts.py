"""What a person reads from the command line, Vietnamese first; reasons are the codes of the errors."""

from collections.abc import Mapping

LANGUAGES = ("vi", "en")

HELP: Mapping[str, tuple[str, str]] = {
    "about": (
        "HSM phần mềm: giữ khóa trong một tiến trình riêng, không bao giờ đưa khóa ra ngoài",
        "software HSM: keeps keys in a process of its own and never gives them out",
    ),
    "serve": ("chạy HSM trên một Unix socket", "run the HSM on a Unix socket"),
    "embedded": (
        "Bí mật mở kho (32 byte) được đưa vào khi khởi động qua --secret-fd hoặc --secret-file, dưới dạng JSON "
        '{"store_secret": "<64 chữ số hex>", "pins": {"so": ..., "user": ..., "auditor": ...}}. '
        "Bản trình diễn giữ bí mật này trong bộ nhớ của một tiến trình giám sát: ai chiếm được tiến trình đó thì "
        "mở được kho. Nơi dùng thật phải ghép bí mật từ phần của nhiều người ở mỗi lần khởi động, "
        "hoặc dùng một HSM phần cứng.",
        "The secret that opens the store (32 bytes) comes in at start through --secret-fd or --secret-file, as JSON "
        '{"store_secret": "<64 hex digits>", "pins": {"so": ..., "user": ..., "auditor": ...}}. '
        "The demonstration keeps it in the memory of a supervising process: whoever takes that process can open the "
        "store. A real installation puts it together from the shares of several persons at each start, "
        "or uses a hardware HSM.",
    ),
    "verify-log": ("kiểm tra chuỗi băm của nhật ký", "check the log's chain of hashes"),
    "keys": ("liệt kê các khóa (không có phần bí mật)", "list the keys (without their secrets)"),
    "status": ("tình trạng HSM", "how the HSM stands"),
    "socket": ("đường dẫn Unix socket", "path of the Unix socket"),
    "store": ("tệp kho khóa đã niêm phong", "the sealed store file"),
    "log": ("tệp nhật ký (mặc định: tên kho + .log)", "log file (default: the store's name + .log)"),
    "secret-fd": ("mô tả tệp chứa bí mật mở kho", "descriptor to read the store's secret from"),
    "secret-file": ("tệp chứa bí mật mở kho", "file to read the store's secret from"),
    "init": ("tạo kho mới (không bao giờ ghi đè)", "make a new store (never overwrites one)"),
    "set-pins": ("đặt lại PIN theo bí mật đưa vào", "set the PINs anew from the secret given"),
    "allow-uid": (
        "người dùng hệ thống được kết nối (mặc định: chỉ chính người chạy)",
        "system user who may connect (default: only the one that runs it)",
    ),
    "log-max-bytes": ("cỡ lớn nhất của nhật ký; đầy thì HSM ngừng", "largest log; when it is full the HSM stops"),
    "role": ("tên người đăng nhập, mặc định là tên vai trò", "who logs in; by default the role's name"),
    "shares": (
        "khởi động còn niêm phong, chờ người giữ nhập phần bí mật (hsm-sim unseal)",
        "start sealed and wait for holders to enter their shares (hsm-sim unseal)",
    ),
    "persons-needed": (
        "số người phải cùng đồng ý cho việc quan trọng",
        "how many persons an important operation takes",
    ),
    "fault": ("lỗi giả lập để thử, ví dụ latency=0.05", "a fault for tests, such as latency=0.05"),
    "seal-key": (
        "khóa công khai đầu tiên niêm phong nhật ký, dạng hex; các khóa sau tìm theo nhật ký",
        "first public key that sealed the log, in hex; the ones after it are found in the log",
    ),
    "state": ("đổi trạng thái một khóa", "lead a key to its next state"),
    "next-state": ("trạng thái mới", "the next state"),
    "destroy": ("hủy một khóa không còn dùng", "destroy a key that is out of use"),
    "cap": ("giới hạn số lần dùng một khóa", "limit how often a key is used"),
    "per-second": ("mỗi giây, mỗi người dùng; 0: không giới hạn", "a second and client; 0: no limit"),
    "per-day": ("mỗi ngày, mỗi người dùng; 0: không giới hạn", "a day and client; 0: no limit"),
    "persons": ("ai được đăng nhập", "who may log in"),
    "add-person": ("thêm một người được đăng nhập", "let one more person log in"),
    "remove-person": ("không cho một người đăng nhập nữa", "let a person log in no more"),
    "person-role": ("vai trò: so, user, auditor hoặc allocator", "role: so, user, auditor or allocator"),
    "set-pin": ("đặt PIN mới cho một người và mở khóa PIN", "give a person a new PIN, which unlocks it"),
    "new-pin-file": ("tệp chứa PIN mới của người đó", "file with that person's new PIN"),
    "proposals": ("việc đang chờ đủ người đồng ý", "what waits for persons"),
    "approve": ("đồng ý một việc đang chờ", "agree to what waits"),
    "load-component": (
        "nhập một thành phần của khóa mã hóa khóa; mỗi thành phần do một người khác nhau nhập",
        "enter one component of a key-encryption key; each by another person",
    ),
    "number": ("thành phần thứ mấy", "which component"),
    "of": ("khóa này có mấy thành phần: 2 hoặc 3", "how many components the key has: 2 or 3"),
    "kcv": (
        "giá trị kiểm tra ghi kèm thành phần (6 chữ số hex); sai thì không gửi",
        "check value that came with the component (6 hex digits); where it differs nothing is sent",
    ),
    "component-file": (
        "tệp chứa thành phần, 64 chữ số hex (mặc định: gõ vào, không hiện)",
        "file with the component, 64 hex digits (default: typed, not shown)",
    ),
    "proposal": ("8 chữ số đầu của đề nghị trở lên", "8 or more first digits of the proposal"),
    "log-head": (
        "đầu nhật ký và khóa niêm phong, để kiểm soát viên giữ",
        "where the log stands, for auditors",
    ),
    "rotate-log-key": (
        "thay khóa niêm phong nhật ký; khóa cũ ký tên khóa mới trong nhật ký",
        "replace the key that seals the log; the old one signs who follows it",
    ),
    "compromised-after": (
        "khóa cũ đã vào tay người khác sau dòng này của nhật ký",
        "the old key was in other hands after this line of the log",
    ),
    "heads": (
        "tệp các đầu nhật ký cất ở nơi khác (mỗi dòng một kết quả của hsm-sim log-head)",
        "file of heads kept elsewhere (a line each, as hsm-sim log-head prints it)",
    ),
    "doubted-after": (
        "sau dòng này chỉ tin đầu nhật ký cất ở nơi khác: khóa niêm phong đã vào tay người khác",
        "after this line believe only heads kept elsewhere: the key that seals was in other hands",
    ),
    "label": ("nhãn khóa", "label of the key"),
    "name": ("tên người", "the person's name"),
    "unseal": ("nhập phần bí mật của mình để mở HSM", "enter your share to open the HSM"),
    "share-file": (
        "tệp chứa phần bí mật (mặc định: gõ vào, không hiện)",
        "file with the share (default: typed, not shown)",
    ),
    "share-in": ("tệp chứa một phần bí mật; lặp lại cho mỗi phần", "file with one share; once for each"),
    "share-out": (
        "tệp mới cho phần của một người giữ; lặp lại cho mỗi người",
        "new file for one holder's share; once for each",
    ),
    "threshold": ("cần bao nhiêu phần để mở", "how many shares open"),
    "split": ("chia bí mật mở kho cho nhiều người giữ", "split the store's secret among holders"),
    "backup": ("sao lưu kho dưới một khóa riêng, chia thành phần", "copy the store under a key of its own, in shares"),
    "backup-to": ("tệp sao lưu mới", "the new backup file"),
    "restore": ("dựng lại kho từ bản sao lưu", "make a store from a backup"),
    "restore-from": ("tệp sao lưu", "the backup file"),
    "ceremony": (
        "nghi lễ khóa theo một kế hoạch; bị ngắt thì chạy lại, nó đi tiếp",
        "a key ceremony after a plan; torn, it is run again and goes on",
    ),
    "plan": ("tệp kế hoạch (TOML)", "file with the plan (TOML)"),
    "ceremony-folder": ("thư mục của kho khóa, sổ và biên bản", "directory of store, book and transcript"),
    "hand-out": (
        "thư mục (USB) để trao phần bí mật và mã PIN của dịch vụ",
        "directory (a USB stick) to hand out shares and the PINs of services",
    ),
    "fonts": ("thư mục phông DejaVu", "directory of the DejaVu fonts"),
    "ceremony-verify": ("kiểm tra chữ ký của biên bản", "check the signature of a transcript"),
    "transcript": ("biên bản, .txt hoặc .pdf", "the transcript, .txt or .pdf"),
    "transcript-key": ("khóa niêm phong mà kiểm soát viên đã ghi lại", "the key of the log as the auditor noted it"),
    "pin-fd": ("mô tả tệp chứa PIN", "descriptor to read the PIN from"),
    "pin-file": ("tệp chứa PIN", "file to read the PIN from"),
    # What stands for a value in the help.
    "NAME": ("TÊN", "NAME"),
    "LABEL": ("NHÃN", "LABEL"),
    "PROPOSAL": ("ĐỀ_NGHỊ", "PROPOSAL"),
    "NUMBER": ("SỐ", "NUMBER"),
    "NAME=NUMBER": ("TÊN=SỐ", "NAME=NUMBER"),
    "FILE": ("TỆP", "FILE"),
    "FOLDER": ("THƯ_MỤC", "FOLDER"),
}

ERRORS: Mapping[str, tuple[str, str]] = {
    "denied": ("không được phép", "not allowed"),
    "not-allocated": ("việc này chưa được người cấp việc cho phép", "the allocator has not allowed this"),
    "wrong-pin": ("sai PIN", "wrong PIN"),
    "pin-locked": ("PIN đã bị khóa", "the PIN is locked"),
    "no-such-key": ("không có khóa này, hoặc khóa không dùng được lúc này", "no such key, or it does not work now"),
    "not-exportable": ("khóa này không được tạo để mang đi", "this key was not made to leave"),
    "bad-wrapping": (
        "không mở được khóa nhận vào bằng khóa mã hóa khóa đã nêu: đã bị sửa, hoặc mã hóa bằng khóa mã hóa khóa khác",
        "what came in cannot be opened with that key-encryption key: it was changed, or enciphered under another one",
    ),
    "wrong-key": (
        "mở được, nhưng không phải khóa đã nêu: khác loại, khác độ dài hoặc khác giá trị kiểm tra",
        "it opens and is not the key that was named: another kind, length or check value",
    ),
    "capped": ("đã dùng khóa đến giới hạn", "the key was used as often as it may be"),
    "needs-quorum": ("việc này cần thêm người đồng ý", "this takes more persons"),
    "key-exists": ("nhãn này có rồi", "this label is taken"),
    "session-lost": ("phiên với thẻ đã mất", "the session with the card is lost"),
    "wrong-cryptogram": ("thẻ không giữ bộ khóa đã nêu", "the card does not hold the key set that was named"),
    "wrong-answer": ("thẻ trả lời sai", "the card's answer is wrong"),
    "error": ("HSM từ chối", "the HSM refuses"),
    "busy": ("HSM đang bận", "the HSM is busy"),
    "zeroised": ("HSM đã tự xóa khóa vì bị mở nắp", "the HSM has destroyed its keys: its case was opened"),
    "log-full": ("nhật ký đầy", "the log is full"),
    "log-broken": ("nhật ký đã bị sửa hoặc hỏng", "the log was changed or is damaged"),
    "store-sealed": ("không mở được kho khóa", "the store does not open"),
    "hsm-gone": ("không thấy HSM", "no HSM answers"),
    "bad-request": ("yêu cầu sai", "broken request"),
    "bad-secret": ("bí mật đưa vào không đúng dạng", "the secret given has not the right form"),
    "socket-taken": ("đã có tiến trình khác dùng socket này", "another process uses this socket"),
    "log-doubted": (
        "từ dòng này trở đi nhật ký không được tin: khóa niêm phong đã vào tay người khác",
        "the log is not believed from this line on: the key that seals it was in other hands",
    ),
    "no-file": ("không mở được tệp", "the file cannot be opened"),
}

HINTS: Mapping[str, tuple[str, str]] = {
    "denied": (
        "việc này dành cho vai trò khác: chọn người bằng --as, xem hsm-sim persons",
        "another role does this: choose a person with --as, see hsm-sim persons",
    ),
    "not-allocated": ("nhờ người cấp việc mở việc này trước", "let the allocator open this job first"),
    "no-such-key": ("xem nhãn và trạng thái: hsm-sim keys", "see labels and states: hsm-sim keys"),
    "key-exists": ("chọn nhãn khác; xem: hsm-sim keys", "choose another label; see: hsm-sim keys"),
    "session-lost": ("đặt lại thẻ rồi làm lại", "put the card back and do it again"),
    "wrong-cryptogram": ("kiểm tra có đúng lô thẻ không", "check whether it is of the right batch of cards"),
    "wrong-answer": ("đặt thẻ sang một bên, dùng thẻ khác", "put this card aside, take another one"),
    "busy": ("đợi một lát rồi làm lại", "wait a moment and do it again"),
    "bad-request": ("xem cách dùng: hsm-sim --help", "see how it is used: hsm-sim --help"),
    "socket-taken": (
        "dừng tiến trình đó, hoặc chọn --socket khác",
        "stop that process, or choose another --socket",
    ),
    "no-file": ("kiểm tra đường dẫn và quyền của tệp", "check the path and the file's mode"),
    "error": ("xem nhật ký của HSM", "see the HSM's log"),
    "pin-locked": (
        "nhờ một người giữ khóa đặt PIN mới: hsm-sim set-pin; khi không còn người giữ khóa nào vào được: "
        "khởi động lại với --set-pins và PIN mới trong tệp bí mật (không dùng được với --shares)",
        "let an officer set a new PIN: hsm-sim set-pin; where no officer can log in any more: start again "
        "with --set-pins and new PINs in the secret (not with --shares)",
    ),
    "log-full": ("tăng --log-max-bytes hoặc dọn ổ đĩa", "raise --log-max-bytes or free the disk"),
    "log-broken": (
        "giữ nguyên tệp để điều tra; đặt lại bản sao đúng của nhật ký",
        "keep the file for the inquiry; put the right copy of the log back",
    ),
    "log-doubted": (
        "đưa đầu nhật ký cất ở nơi khác, lấy từ lúc thay khóa trở đi: --heads",
        "give a head that was kept elsewhere, of the change of the key or later: --heads",
    ),
    "store-sealed": (
        "kiểm tra đường dẫn --store và bí mật; --init chỉ dùng một lần",
        "check --store and the secret; --init is for the first time only",
    ),
    "hsm-gone": ("chạy: hsm-sim serve", "run: hsm-sim serve"),
    "needs-quorum": ("xem: hsm-sim proposals", "see: hsm-sim proposals"),
    "capped": (
        "chờ đến giây hoặc ngày sau, hoặc nâng giới hạn: hsm-sim cap",
        "wait for the next second or day, or raise the cap: hsm-sim cap",
    ),
    "not-exportable": (
        "việc mang đi phải định khi tạo khóa; khóa này thì thay bằng khóa mới ở nơi mới",
        "that a key may leave is said when it is made; replace this one by a new key at the new place",
    ),
    "bad-wrapping": (
        "xem có đúng khóa mã hóa khóa và giá trị kiểm tra của khóa ấy ở hai nơi có giống nhau không; rồi lấy lại tệp",
        "see that it is the right key-encryption key, with one check value at both places; then get the file again",
    ),
    "wrong-key": ("hỏi nơi gửi: loại khóa và giá trị kiểm tra", "ask who sent it: kind of key and check value"),
    "zeroised": ("dựng lại từ bản sao lưu: hsm-sim restore", "restore a backup: hsm-sim restore"),
    "bad-secret": ("xem: hsm-sim serve --help", "see: hsm-sim serve --help"),
}

SAID: Mapping[str, tuple[str, str]] = {
    "done": ("xong", "done"),
    "keep-head": (
        "khóa mới đang niêm phong nhật ký; cất dòng sau ở nơi khác:",
        "a new key seals the log; keep this line elsewhere:",
    ),
    "waits": (
        "cần {needed} người. Người khác gõ: hsm-sim approve {proposal}\nbăm của việc này: {digest}",
        "takes {needed} persons. The others type: hsm-sim approve {proposal}\nhash of the operation: {digest}",
    ),
    "component-taken": (
        "đã nhận thành phần {number}/{count}, giá trị kiểm tra {kcv}; đã có {have} trên {count}",
        "component {number}/{count} taken, check value {kcv}; {have} of {count} are there",
    ),
    "kek-made": (
        "đủ thành phần: khóa {label} đã có, giá trị kiểm tra {kcv}",
        "all components are there: key {label} is made, check value {kcv}",
    ),
    "approved": ("đã có {have} trên {needed} người", "{have} of {needed} persons"),
    "share-taken": ("đã nhận phần bí mật: {have} trên {needed}", "share taken: {have} of {needed}"),
    "opened": ("đủ {needed} phần: HSM đã mở", "{needed} shares: the HSM is open"),
    "split": (
        "đã chia thành {count} phần, cần {threshold} phần để mở; giao mỗi tệp cho một người rồi xóa",
        "split into {count} shares, {threshold} of them open; give each file to one holder and delete it",
    ),
    "backed-up": (
        "đã sao lưu {keys} khóa vào {path}\nSHA-256 {digest}\nbộ phần bí mật số {split}",
        "{keys} keys copied to {path}\nSHA-256 {digest}\nshare set {split}",
    ),
    "restored": ("đã dựng lại {keys} khóa trong {path}", "{keys} keys restored in {path}"),
}

LOG_SEALED = (
    "mọi niêm phong đều đúng; {unsealed} dòng cuối chưa niêm phong",
    "every seal is right; {unsealed} lines at the end are not sealed yet",
)
LOG_GOOD = ("nhật ký nguyên vẹn: {count} dòng, băm cuối {digest}", "log is whole: {count} lines, last hash {digest}")
LOG_KEY_CHANGED = (
    "dòng {line}: khóa niêm phong mới {key}",
    "line {line}: new key that seals, {key}",
)
LOG_KEY_DOUBTED = (
    "dòng {line}: khóa niêm phong mới {key}; khóa cũ đã vào tay người khác sau dòng {after}",
    "line {line}: new key that seals, {key}; the old one was in other hands after line {after}",
)
LOG_HEADS = (
    "khớp {count} đầu nhật ký cất ở nơi khác, đến dòng {last}",
    "{count} heads kept elsewhere fit, up to line {last}",
)
LOG_KILLED = (
    "trước dòng {line}, tiến trình HSM bị ngắt; nhật ký không mất gì",
    "before line {line} the HSM was killed; nothing of the log is missing",
)
LOG_POWER = (
    "trước dòng {line}, máy mất điện; có thể thiếu tới 10 ms nhật ký cuối trước dòng đó",
    "before line {line} the power was cut; up to the last 10 ms of the log before it may be missing",
)
LOG_TORN = ("dòng cuối dở dang: {bytes} byte", "unfinished last line: {bytes} bytes")


def text(table: Mapping[str, tuple[str, str]], code: str, lang: str) -> str:
    """The text of a code, or the code itself where there is none."""
    return table[code][LANGUAGES.index(lang)] if code in table else code
