"""Why a command was refused, and what to do next: what a person reads, Vietnamese first.

An error has a code, and where a person can do something about it a reason, on which these texts hang. `{number}` is the
first number in the error's detail.
"""

import errno
import re
from collections.abc import Mapping
from typing import NamedTuple


class Reason(NamedTuple):
    """What went wrong and what to do next, in both languages."""

    vi: str
    en: str
    next_vi: str
    next_en: str

    def told(self, lang: str, detail: str) -> tuple[str, str]:
        """The text and the hint, in one language."""
        found = re.search(r"\d+", detail)
        text = self.vi if lang == "vi" else self.en
        return text.replace("{number}", found[0] if found else "?"), self.next_vi if lang == "vi" else self.next_en


REASONS: Mapping[str, Reason] = {
    # --- files
    "file.missing": Reason(
        "không có tệp hoặc thư mục này", "no such file or directory",
        "kiểm tra đường dẫn; thư mục phải có sẵn", "check the path; the directory must be there",
    ),
    "file.denied": Reason(
        "không được phép đọc hoặc ghi tệp này", "this file may not be read or written",
        "kiểm tra quyền của tệp và người đang chạy lệnh", "check the file's mode and who runs the command",
    ),
    "file.exists": Reason(
        "tệp này có sẵn, không ghi đè", "this file is there already and is not overwritten",
        "chọn tên khác, hoặc tự dời tệp cũ đi", "choose another name, or move the old file away",
    ),
    "file.directory": Reason(
        "đây là thư mục, cần một tệp", "this is a directory, a file is wanted",
        "đưa đường dẫn đến tệp", "give the path of a file",
    ),
    "file.full": Reason(
        "ổ đĩa đầy hoặc hết hạn mức", "the disk is full, or its quota is used up",
        "dọn ổ đĩa rồi chạy lại lệnh", "free the disk and run the command again",
    ),
    "file.text": Reason(
        "tệp này không phải văn bản", "this file is no text",
        "kiểm tra có đưa nhầm tệp không", "check whether it is the right file",
    ),
    "file.empty": Reason(
        "tệp này rỗng", "this file is empty",
        "ghi vào dòng đầu của tệp, rồi chạy lại", "write into the first line of the file, then run it again",
    ),
    "file.twice": Reason(
        "một tệp được nêu hai lần", "one file is named twice",
        "đưa mỗi người giữ một tệp riêng", "give each holder a file of their own",
    ),
    "socket.long": Reason(
        "đường dẫn của socket quá dài", "the socket's path is too long",
        "dùng đường dẫn dưới 100 ký tự, ví dụ /run/hsm.sock", "use a path below 100 characters, such as /run/hsm.sock",
    ),
    "stopped": Reason(
        "đã dừng theo yêu cầu", "stopped as asked",
        "chạy lại lệnh khi cần; nghi lễ đi tiếp từ bước dở dang",
        "run it again when wanted; a ceremony goes on where it was",
    ),
    # --- the secret, the store
    "secret.form": Reason(
        "bí mật mở kho phải là JSON", "the store's secret comes as JSON",
        "xem dạng của nó: hsm-sim serve --help", "see its form: hsm-sim serve --help",
    ),
    "secret.choice": Reason(
        "cần đúng một trong hai: qua tệp hoặc qua mô tả tệp", "want exactly one: by file or by descriptor",
        "thêm --secret-file TỆP (hoặc --pin-file TỆP)", "add --secret-file FILE (or --pin-file FILE)",
    ),
    "init.pins": Reason(
        "tạo kho mới cần PIN của so, user và auditor", "a new store wants PINs of so, user and auditor",
        "thêm \"pins\" vào tệp bí mật: hsm-sim serve --help", "add \"pins\" to the secret: hsm-sim serve --help",
    ),
    "init.shares": Reason(
        "--init không đi cùng --shares", "--init does not go with --shares",
        "tạo kho bằng nghi lễ (hsm-sim ceremony), rồi chạy serve --shares",
        "make the store in a ceremony (hsm-sim ceremony), then run serve --shares",
    ),
    "set-pins.shares": Reason(
        "--set-pins không đi cùng --shares", "--set-pins does not go with --shares",
        "mở HSM bằng các phần bí mật, rồi dùng hsm-sim set-pin",
        "open the HSM with the shares, then use hsm-sim set-pin",
    ),
    "init.log": Reason(
        "ở đó có nhật ký của một kho cũ", "there is the log of an older store",
        "bỏ --init để mở kho cũ, hoặc chọn --store khác",
        "leave --init out to open the old one, or choose another --store",
    ),
    "store.missing": Reason(
        "không có kho khóa hay bản sao lưu ở đó", "there is no store and no backup",
        "kiểm tra đường dẫn; kho mới: serve --init hoặc hsm-sim ceremony",
        "check the path; a new store: serve --init or hsm-sim ceremony",
    ),
    "store.none": Reason(
        "tệp này không phải kho khóa hay bản sao lưu", "this file is no store and no backup",
        "kiểm tra có đưa nhầm tệp không", "check whether it is the right file",
    ),
    "store.secret": Reason(
        "bí mật hoặc các phần bí mật không mở được tệp này, hoặc tệp đã bị sửa",
        "the secret or the shares do not open this file, or the file was changed",
        "dùng bí mật của chính kho này; bản sao lưu có bộ phần bí mật riêng của nó",
        "use the secret of this very store; a backup has a set of shares of its own",
    ),
    "store.exists": Reason(
        "ở đó có sẵn một kho hay bản sao lưu, không ghi đè",
        "there is a store or backup already; it is not overwritten",
        "chọn đường dẫn khác; để mở kho có sẵn thì bỏ --init",
        "choose another path; to open the one that is there, leave --init out",
    ),
    "store.taken": Reason(
        "một HSM đang chạy với kho này", "an HSM is running with this store",
        "dừng tiến trình đó trước, hoặc dùng socket của nó", "stop that process first, or use its socket",
    ),
    "store.old": Reason(
        "kho khóa cũ hơn nhật ký: một bản cũ đã được đặt lại",
        "the store is older than its log: an old copy was put back",
        "đặt lại kho mới nhất; không còn thì hsm-sim restore với nhật ký mới",
        "put the newest store back; without one, hsm-sim restore with a new log",
    ),
    "store.unfinished": Reason(
        "kho này chưa được tạo xong", "this store was never finished",
        "xóa tệp này rồi tạo lại: chưa có khóa nào ở trong", "delete the file and make it again: it holds no key",
    ),
    "store.disk": Reason(
        "không ghi được kho khóa; chưa có gì thay đổi", "the store cannot be written; nothing was changed",
        "dọn ổ đĩa rồi làm lại", "free the disk and do it again",
    ),
    # --- shares
    "share.words": Reason(
        "phần bí mật sai hoặc thiếu từ", "a word of the share is wrong or missing",
        "so từng từ với tờ giấy: 33 từ, cách nhau bằng dấu cách", "compare word by word with the paper: 33 words",
    ),
    "share.other": Reason(
        "các phần bí mật này không cùng một bộ", "these shares are not of one set",
        "dùng các phần cùng số bộ: xem biên bản nghi lễ", "use shares of one set: see the ceremony's transcript",
    ),
    "share.few": Reason(
        "chưa đủ phần bí mật khác nhau", "too few different shares",
        "đưa thêm --share-file của người giữ khác", "add --share-file of other holders",
    ),
    "share.count": Reason(
        "số phần bí mật hoặc ngưỡng không hợp lệ", "this number of shares or threshold does not work",
        "từ 2 đến 16 phần, và ngưỡng từ 2 đến số phần", "2 to 16 shares, and a threshold of 2 up to their number",
    ),
    "share.not-sealed": Reason(
        "HSM này đang mở, không chờ phần bí mật nào", "this HSM is open and waits for no share",
        "không cần làm gì; khi khởi động lại với --shares mới cần",
        "nothing to do; only a start with --shares wants them",
    ),
    "share.sealed": Reason(
        "HSM còn niêm phong, đang chờ phần bí mật", "the HSM is sealed and waits for shares",
        "mỗi người giữ chạy: hsm-sim unseal", "each holder runs: hsm-sim unseal",
    ),
    # --- persons and what they ask for
    "wrong-pin": Reason(
        "sai PIN, còn {number} lần thử", "wrong PIN, {number} tries left",
        "gõ lại cho đúng; hết lượt thì PIN bị khóa", "type it right; after the last try the PIN is locked",
    ),
    "person.none": Reason(
        "không có người này", "there is no such person",
        "xem ai được đăng nhập: hsm-sim persons; chọn bằng --as TÊN",
        "see who may log in: hsm-sim persons; choose with --as",
    ),
    "person.taken": Reason(
        "tên này có rồi, hoặc đã đủ 64 người", "this name is taken, or there are 64 persons",
        "xem: hsm-sim persons", "see: hsm-sim persons",
    ),
    "person.name": Reason(
        "tên phải có 2 đến 32 ký tự, không có dấu /", "a name has 2 to 32 characters and no slash",
        "chọn tên khác", "choose another name",
    ),
    "person.officers": Reason(
        "sẽ còn quá ít người giữ khóa để cùng đồng ý", "too few security officers would be left for a quorum",
        "thêm người trước (add-person) hoặc giảm số người cần (persons-needed)",
        "add persons first (add-person), or need fewer (persons-needed)",
    ),
    "persons.range": Reason(
        "số người cần phải từ 1 đến số người giữ khóa hiện có", "1 to the number of security officers there are",
        "xem: hsm-sim persons; thêm người: hsm-sim add-person", "see: hsm-sim persons; add some: hsm-sim add-person",
    ),
    "pin.length": Reason(
        "PIN phải có 6 đến 64 ký tự", "a PIN has 6 to 64 characters",
        "chọn PIN khác, ở dòng đầu của tệp", "choose another PIN, in the first line of the file",
    ),
    "proposal.none": Reason(
        "không có đề nghị này, hoặc nhiều đề nghị bắt đầu như vậy", "no such proposal, or more than one begins so",
        "xem: hsm-sim proposals; gõ ít nhất 8 chữ số đầu", "see: hsm-sim proposals; type at least 8 digits",
    ),
    "proposal.twice": Reason(
        "bạn đã đồng ý việc này rồi", "you have agreed to this already",
        "chờ người khác đồng ý", "wait for another person",
    ),
    "key.step": Reason(
        "khóa không chuyển được sang trạng thái đó", "no way leads from the key's state to that one",
        "xem trạng thái: hsm-sim keys; hủy được khóa đã ngừng hoặc đã lộ",
        "see its state: hsm-sim keys; a deactivated or compromised key can be destroyed",
    ),
    "component.form": Reason(
        "thành phần khóa phải là 64 chữ số hex", "a component is 64 hex digits",
        "chép lại đúng từ thư nhận được, không có dấu cách", "copy it again from the letter, without blanks",
    ),
    "cap.range": Reason(
        "giới hạn phải từ 0 trở lên", "a cap is 0 or more",
        "0 nghĩa là không giới hạn", "0 means no limit",
    ),
    # --- the log
    "log.none": Reason(
        "tệp này không phải nhật ký HSM", "this file is no log of an HSM",
        "kiểm tra có đưa nhầm tệp không; nhật ký thường là TÊN-KHO.log", "check the file; a log is mostly STORE.log",
    ),
    "log.choice": Reason(
        "chưa nói kiểm tra nhật ký nào", "which log is not said",
        "thêm --log TỆP, hoặc --store TỆP và bí mật của kho", "add --log FILE, or --store FILE and its secret",
    ),
    "log.line": Reason(
        "nhật ký không có dòng {number}", "the log has no line {number}",
        "xem số dòng hiện có: hsm-sim log-head", "see how many lines there are: hsm-sim log-head",
    ),
    "log.missing": Reason(
        "có kho khóa mà không thấy nhật ký của nó", "the store is there and its log is not",
        "đặt lại nhật ký cạnh kho, hoặc chỉ đường bằng --log",
        "put the log back beside the store, or name it with --log",
    ),
    "log.short": Reason(
        "nhật ký bị cắt ngắn hoặc bị thay", "the log was shortened or replaced",
        "giữ nguyên tệp để điều tra; đặt lại bản đúng của nhật ký",
        "keep the file for the inquiry; put the right copy of the log back",
    ),
    "seal-key.form": Reason(
        "khóa niêm phong phải là 64 chữ số hex", "a seal key is 64 hex digits",
        "lấy từ biên bản nghi lễ hoặc từ hsm-sim log-head", "take it from the transcript or from hsm-sim log-head",
    ),
    "heads.form": Reason(
        "tệp này không phải các đầu nhật ký, hoặc chúng trái ngược nhau",
        "this is no file of heads, or they contradict each other",
        "mỗi dòng một kết quả của hsm-sim log-head, không sửa", "a line each as hsm-sim log-head printed it",
    ),
    # --- the ceremony
    "plan.form": Reason(
        "kế hoạch nghi lễ không đọc được", "the plan cannot be read",
        "viết theo mẫu TOML trong docs/ceremony.md", "write it like the TOML in docs/ceremony.md",
    ),
    "plan.people": Reason(
        "kế hoạch có tên sai, trùng tên, hoặc một người vừa giữ khóa vừa kiểm soát",
        "the plan has a wrong name, one twice, or somebody who is officer and auditor",
        "sửa tên trong kế hoạch; tên 2 đến 32 ký tự, không có dấu /", "mend the names; 2 to 32 characters, no slash",
    ),
    "plan.numbers": Reason(
        "số người, số phần bí mật hoặc số khóa gốc trong kế hoạch không hợp lệ",
        "persons, shares or roots in the plan do not fit together",
        "ngưỡng không lớn hơn số người (hoặc số khóa) nêu ra; phần bí mật: ít nhất 2",
        "no threshold above the number of persons (or keys); shares: at least 2",
    ),
    "plan.other": Reason(
        "nghi lễ ở thư mục này đã bắt đầu với kế hoạch khác",
        "the ceremony in this directory was begun with another plan",
        "dùng lại đúng kế hoạch cũ, hoặc một --folder mới", "use the old plan again, or another --folder",
    ),
    "ceremony.left": Reason(
        "không còn ai gõ nữa", "nobody types any more",
        "chạy lại đúng lệnh này, nghi lễ đi tiếp từ đây", "run the same command again, it goes on here",
    ),
    "transcript.none": Reason(
        "tệp này không phải biên bản có chữ ký", "this file bears no signature",
        "đưa transcript.txt hoặc transcript.pdf (tệp .sig để cạnh nó)",
        "give transcript.txt or transcript.pdf (with its .sig beside it)",
    ),
    "transcript.changed": Reason(
        "biên bản đã bị sửa, hoặc do khóa khác ký", "the transcript was changed, or is signed by another key",
        "giữ nguyên tệp để điều tra; so với bản đã in và ký tay", "keep it for the inquiry; compare the printed one",
    ),
    "fonts": Reason(
        "thiếu phông chữ DejaVu để lập PDF", "the DejaVu fonts for the PDF are missing",
        "cài fonts-dejavu-core rồi chạy lại, hoặc --fonts THƯ_MỤC",
        "install fonts-dejavu-core and run again, or --fonts",
    ),
    "fault.form": Reason(
        "không có lỗi giả lập này", "there is no such fault",
        "dùng TÊN=SỐ với một tên trong danh sách", "use NAME=NUMBER with a name of the list",
    ),
}  # fmt: skip

_OF_ERRNO: Mapping[int, str] = {
    errno.ENOENT: "file.missing",
    errno.ENOTDIR: "file.missing",
    errno.EACCES: "file.denied",
    errno.EPERM: "file.denied",
    errno.EROFS: "file.denied",
    errno.EEXIST: "file.exists",
    errno.EISDIR: "file.directory",
    errno.ENOSPC: "file.full",
    errno.EFBIG: "file.full",
    errno.EDQUOT: "file.full",
}


def of_os_error(error: OSError) -> tuple[str, str]:
    """The reason of what the system refused, and what it was about."""
    if error.errno is None and "AF_UNIX" in str(error):
        return "socket.long", str(error)
    about = str(error.filename) if error.filename is not None else error.strerror or str(error)
    return _OF_ERRNO.get(error.errno or 0, ""), about
