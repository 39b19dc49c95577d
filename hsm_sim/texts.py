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
    "role": ("vai trò: so, user hoặc auditor", "role: so, user or auditor"),
    "pin-fd": ("mô tả tệp chứa PIN", "descriptor to read the PIN from"),
    "pin-file": ("tệp chứa PIN", "file to read the PIN from"),
    "lang": ("ngôn ngữ: vi hoặc en", "language: vi or en"),
}

ERRORS: Mapping[str, tuple[str, str]] = {
    "denied": ("không được phép", "not allowed"),
    "wrong-pin": ("sai PIN", "wrong PIN"),
    "pin-locked": ("PIN đã bị khóa", "the PIN is locked"),
    "no-such-key": ("không có khóa này", "no such key"),
    "log-full": ("nhật ký đầy", "the log is full"),
    "log-broken": ("nhật ký đã bị sửa hoặc hỏng", "the log was changed or is damaged"),
    "store-sealed": ("không mở được kho khóa", "the store does not open"),
    "hsm-gone": ("không thấy HSM", "no HSM answers"),
    "bad-request": ("yêu cầu sai", "broken request"),
    "bad-secret": ("bí mật đưa vào không đúng dạng", "the secret given has not the right form"),
    "socket-taken": ("đã có tiến trình khác dùng socket này", "another process uses this socket"),
    "no-file": ("không mở được tệp", "the file cannot be opened"),
}

HINTS: Mapping[str, tuple[str, str]] = {
    "pin-locked": (
        "khởi động lại HSM với --set-pins và PIN mới trong bí mật",
        "start the HSM again with --set-pins and new PINs in the secret",
    ),
    "log-full": ("tăng --log-max-bytes hoặc dọn ổ đĩa", "raise --log-max-bytes or free the disk"),
    "log-broken": (
        "giữ nguyên tệp để điều tra; đặt lại bản sao đúng của nhật ký",
        "keep the file for the inquiry; put the right copy of the log back",
    ),
    "store-sealed": (
        "kiểm tra đường dẫn --store và bí mật; --init chỉ dùng một lần",
        "check --store and the secret; --init is for the first time only",
    ),
    "hsm-gone": ("chạy: hsm-sim serve", "run: hsm-sim serve"),
    "bad-secret": ("xem: hsm-sim serve --help", "see: hsm-sim serve --help"),
}

LOG_GOOD = ("nhật ký nguyên vẹn: {count} dòng, băm cuối {digest}", "log is whole: {count} lines, last hash {digest}")
LOG_TORN = ("dòng cuối dở dang: {bytes} byte", "unfinished last line: {bytes} bytes")


def text(table: Mapping[str, tuple[str, str]], code: str, lang: str) -> str:
    """The text of a code, or the code itself where there is none."""
    return table[code][LANGUAGES.index(lang)] if code in table else code
