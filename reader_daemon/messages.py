"""What the technician reads at the command line: one text and one hint for each error code, Vietnamese first."""

from cardlink.language.parser import said_by_system
from reader_daemon.errors import DoorError

# code: (Vietnamese text, Vietnamese hint, English text, English hint)
ERRORS: dict[str, tuple[str, str, str, str]] = {
    "config-unreadable": (
        "không đọc được tệp cấu hình {path}: {why}",
        "kiểm tra đường dẫn sau --config và cú pháp TOML",
        "cannot read the configuration {path}: {why}",
        "check the path after --config and the TOML syntax",
    ),
    "config-unknown": (
        "cấu hình có khóa lạ: {key}",
        "sửa hoặc xóa khóa đó; xem reader-daemon run --help",
        "the configuration has an unknown key: {key}",
        "correct or remove it; see reader-daemon run --help",
    ),
    "config-missing": (
        "thiếu cấu hình {key}",
        "ghi {key} vào tệp cấu hình hoặc đặt biến {env}",
        "the setting {key} is missing",
        "write {key} into the configuration or set {env}",
    ),
    "config-wrong": (
        "cấu hình {key} sai: {value}",
        "xem giá trị cho phép ở reader-daemon run --help",
        "the setting {key} is wrong: {value}",
        "see reader-daemon run --help for what it may be",
    ),
    "lock-unknown": (
        "không có loại khóa cửa {driver}",
        "dùng log hoặc file",
        "there is no lock driver {driver}",
        "use log or file",
    ),
    "not-enrolled": (
        "cửa này chưa ghi danh: không có {path}",
        "lấy mã ghi danh ở trung tâm rồi chạy reader-daemon enrol và nhập mã",
        "this door is not enrolled: there is no {path}",
        "get a code from the centre, run reader-daemon enrol and type it in",
    ),
    "already-enrolled": (
        "cửa này đã ghi danh: {path}",
        "muốn ghi danh lại thì dùng thư mục dữ liệu mới",
        "this door is enrolled already: {path}",
        "to enrol again use a new data directory",
    ),
    "enrolment-unreadable": (
        "tệp ghi danh {path} hỏng: {why}",
        "khôi phục tệp từ bản sao hoặc ghi danh lại trong thư mục mới",
        "the enrolment {path} is damaged: {why}",
        "restore the file, or enrol again in a new data directory",
    ),
    "key-unreadable": (
        "không đọc được khóa của cửa {path}: {why}",
        "kiểm tra quyền đọc tệp; nếu mất khóa thì ghi danh lại trong thư mục mới",
        "cannot read this door's key {path}: {why}",
        "check who may read the file; if the key is lost, enrol again in a new data directory",
    ),
    "enrolment-code": (
        "trung tâm không nhận mã ghi danh",
        "mã sai, đã dùng hoặc hết hạn; lấy mã mới",
        "the centre does not accept the code",
        "it is wrong, used or expired; get a new one",
    ),
    "enrolment-status": (
        "trung tâm từ chối ghi danh (HTTP {status})",
        "xem nhật ký của trung tâm",
        "the centre refuses the enrolment (HTTP {status})",
        "see the centre's log",
    ),
    "enrolment-answer": (
        "câu trả lời ghi danh không dùng được: {why}",
        "kiểm tra địa chỉ sau --url",
        "the enrolment's answer is not usable: {why}",
        "check the address after --url",
    ),
    "enrolment-fingerprint": (
        "dấu vân tay khóa gốc khác với dấu đã cho; nhận được {found}",
        "so lại với trung tâm; có thể có người đứng giữa",
        "the fingerprint of the roots is another one: {found}",
        "compare it with the centre again; somebody may stand in between",
    ),
    "enrolment-trust": (
        "danh sách tin cậy nhận khi ghi danh không hợp lệ: {why}",
        "kiểm tra đồng hồ của máy và địa chỉ trung tâm",
        "the trust list received at enrolment is not good: {why}",
        "check this machine's clock and the centre's address",
    ),
    "database-damaged": (
        "cơ sở dữ liệu {path} hỏng: {why}",
        "giữ lại tệp để điều tra, báo trung tâm, rồi ghi danh lại trong thư mục mới",
        "the database {path} is damaged: {why}",
        "keep the file for inquiry, tell the centre, then enrol again in a new data directory",
    ),
    "database-version": (
        "cơ sở dữ liệu {path} thuộc phiên bản {found}, chương trình này dùng {want}",
        "dùng đúng phiên bản chương trình",
        "the database {path} is of version {found}, this program wants {want}",
        "use the program of that version",
    ),
    "data-in-use": (
        "thư mục {path} đang được một tiến trình khác dùng",
        "dừng tiến trình kia trước",
        "another process uses {path}",
        "stop that process first",
    ),
    "data-unusable": (
        "không dùng được thư mục {path}: {why}",
        "kiểm tra quyền và dung lượng đĩa",
        "cannot use the directory {path}: {why}",
        "check its rights and the disk's free space",
    ),
    "not-durable": (
        "không ghi được lên đĩa: {why}",
        "kiểm tra dung lượng đĩa; cửa đóng cho đến khi ghi được",
        "the disk cannot be written: {why}",
        "check the disk's free space; the door stays shut until it can be written",
    ),
    "log-broken": (
        "nhật ký không nguyên vẹn ở bản ghi {boot}/{seq}: {why}",
        "giữ nguyên thư mục dữ liệu và báo người phụ trách an ninh",
        "the log is not whole at record {boot}/{seq}: {why}",
        "keep the data directory as it is and tell the security officer",
    ),
    "zone-missing": (
        "máy không có dữ liệu múi giờ {zone}",
        "cài gói tzdata của hệ điều hành",
        "this machine has no rules for the time zone {zone}",
        "install the system's tzdata package",
    ),
    "feed-address": (
        "địa chỉ trung tâm sai: {url}",
        "dùng dạng http://máy:cổng hoặc https://máy",
        "the centre's address is wrong: {url}",
        "use http://host:port or https://host",
    ),
    "feed-unreachable": (
        "không gọi được trung tâm ({path}): {why}",
        "kiểm tra mạng và địa chỉ; cửa vẫn chạy bằng dữ liệu đang có",
        "cannot reach the centre ({path}): {why}",
        "check network and address; the door goes on with what it has",
    ),
    "feed-status": (
        "trung tâm trả lời HTTP {status} cho {path}",
        "xem nhật ký của trung tâm",
        "the centre answers HTTP {status} to {path}",
        "see the centre's log",
    ),
    "feed-malformed": (
        "trung tâm trả lời sai quy cách ở {path}: {why}",
        "kiểm tra phiên bản của trung tâm",
        "the centre's answer at {path} breaks the format: {why}",
        "check the centre's version",
    ),
    "feed-too-much": (
        "trung tâm trả lời quá dài ở {path}",
        "kiểm tra phiên bản của trung tâm",
        "the centre's answer at {path} is too long",
        "check the centre's version",
    ),
    "feed-ended": (
        "trung tâm ngắt luồng {path}",
        "cửa tự nối lại",
        "the centre ended {path}",
        "the door reconnects by itself",
    ),
    "feed-take-snapshot": (
        "cửa chậm quá xa so với {path}",
        "cửa tự lấy danh sách đầy đủ",
        "the door is too far behind {path}",
        "the door fetches the whole lists by itself",
    ),
    "feed-silent": (
        "luồng {path} im lặng quá {beats} nhịp",
        "cửa tự nối lại",
        "{path} was silent for {beats} beats",
        "the door reconnects by itself",
    ),
}


# code: (Vietnamese, English)
TEXTS: dict[str, tuple[str, str]] = {
    "help": (
        "Cửa của Thẻ Mở: xác thực thẻ, quyết định, ghi nhật ký, mở khóa.",
        "A door of Thẻ Mở: authenticate cards, decide, log, unlock.",
    ),
    "help.run": ("chạy cửa cho đến khi nhận SIGTERM hoặc Ctrl-C", "run the door until SIGTERM or Ctrl-C"),
    "help.enrol": (
        "ghi danh cửa với trung tâm bằng mã dùng một lần",
        "enrol the door at the centre with a one-time code",
    ),
    "help.status": ("xem dữ liệu cửa đang có trên đĩa", "show what the door has on disk"),
    "help.verify-log": (
        "kiểm tra nhật ký trên đĩa: chuỗi băm và các đầu đã ký",
        "check the log on disk: its chain and its signed heads",
    ),
    "help.config": (
        "tệp TOML: data_dir (bắt buộc), feed_url, reader hoặc readers, lock=log|file, lock_file, "
        "head_every_records, head_every_s, insert_wait_s; biến THEMO_DOOR_<KHÓA> thay giá trị trong tệp",
        "TOML file: data_dir (required), feed_url, reader or readers, lock=log|file, lock_file, "
        "head_every_records, head_every_s, insert_wait_s; the variable THEMO_DOOR_<KEY> overrides each",
    ),
    "help.log-level": ("mức nhật ký trên stderr", "level of the log on stderr"),
    "help.events-stdout": ("in mỗi lượt thẻ thành một dòng JSON trên stdout", "print each tap as a line of JSON"),
    "help.url": ("địa chỉ trung tâm; mặc định là feed_url", "the centre's address; by default feed_url"),
    "help.door": ("UUID mà cửa này phải nhận được", "the UUID that this door must be given"),
    "help.fingerprint": (
        "dấu vân tay khóa gốc do trung tâm đưa; khác thì từ chối",
        "fingerprint of the roots as told by the centre; another one is refused",
    ),
    "help.json": ("in một đối tượng JSON", "print a JSON object"),
    "enrolled": (
        "đã ghi danh cửa {name} ({door}) của {owner}\ndấu vân tay khóa gốc: {fingerprint}\n"
        "so dấu này với trung tâm trước khi dùng cửa",
        "enrolled door {name} ({door}) of {owner}\nfingerprint of the roots: {fingerprint}\n"
        "compare it with the centre's before the door is used",
    ),
    "log-whole": (
        "nhật ký nguyên vẹn đến {boot}/{seq} {digest}",
        "the log is whole up to {boot}/{seq} {digest}",
    ),
    "status.name": ("cửa", "door"),
    "status.door": ("UUID", "UUID"),
    "status.owner": ("cơ quan chủ quản", "owner"),
    "status.fingerprint": ("dấu vân tay khóa gốc", "fingerprint of the roots"),
    "status.trust": ("danh sách tin cậy số", "trust list number"),
    "status.bundle": ("quy tắc số", "bundle seq"),
    "status.epoch": ("thời kỳ trạng thái", "status epoch"),
    "status.seq": ("trạng thái số", "status seq"),
    "status.fresh_at": ("trung tâm trả lời lần cuối", "last answer of the centre"),
    "status.boot": ("lần khởi động", "boot"),
    "status.record": ("bản ghi cuối", "last record"),
    "status.waiting": ("bản ghi chưa gửi", "records not sent"),
}


def error_text(error: DoorError, lang: str = "vi") -> tuple[str, str]:
    """The text and the hint for an error, facts filled in."""
    english = lang == "en"
    texts = ERRORS[error.code]
    facts = {name: str(value) for name, value in error.facts.items()}
    if "why" in facts:
        facts["why"] = said_by_system(facts["why"], lang)
    return texts[2 if english else 0].format(**facts), texts[3 if english else 1].format(**facts)
