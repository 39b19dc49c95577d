"""What the demo says, Vietnamese first."""

TEXTS: dict[str, tuple[str, str]] = {
    "title": (
        "THẺ MỞ: một người, một tấm thẻ, một cánh cửa, một lần thu hồi",
        "THẺ MỞ: a person, a card, a door, a revocation",
    ),
    "no_pcsc": (
        "Không có đầu đọc ảo ({why}): dùng đường truyền trong tiến trình, mọi việc khác như nhau.",
        "No virtual reader ({why}): using the in-process carrier, all else is the same.",
    ),
    "stage.keys": ("1. HSM và các khóa", "1. The HSM and the keys"),
    "keys.hsm": (
        "HSM chạy trong tiến trình riêng; kho khóa được niêm phong, PIN trao qua descriptor",
        "the HSM runs in a process of its own; its store is sealed, PINs go by descriptor",
    ),
    "keys.device": (
        "khóa nằm trong thiết bị PKCS #11, khóa gốc ở token riêng; PIN trao qua descriptor. Thiết bị nói về mình:",
        "keys live in a PKCS #11 device, root keys in a token of their own; PINs go by descriptor. It says of itself:",
    ),
    "keys.made": (
        "{count} khóa: khóa gốc, khóa ký của hai cơ quan, CA, khóa chủ của thẻ; không khóa nào nằm trần trên đĩa",
        "{count} keys: root, signers of two agencies, CA, card master; none on disk in the clear",
    ),
    "keys.embedded": (
        "Bản trình diễn giữ bí mật của HSM trong bộ nhớ của chính nó. Nơi dùng thật: nhiều người ghép bí mật khi khởi "
        "động, PIN do trình quản lý dịch vụ trao, khóa gốc 2 trên 3.",
        "The demo keeps the HSM's secret in its own memory. A real installation: several persons put it together at "
        "start, the service manager hands over PINs, roots are 2 of 3.",
    ),
    "keys.staff": (
        "{count} cán bộ có tài khoản; không ai một mình cấp được thẻ",
        "{count} officers have accounts; nobody can issue a card alone",
    ),
    "stage.register": ("2. Hồ sơ: 300 người của hai cơ quan, từ tệp Excel", "2. The register: 300 people from Excel"),
    "register.sheet": (
        "danh-sach.xlsx và {photos} ảnh (mọi người đều hư cấu)",
        "danh-sach.xlsx and {photos} portraits (everybody is made up)",
    ),
    "register.zeros": (
        "{count} số định danh bị bảng tính làm mất số 0: hiện ra để xác nhận, không tự đoán",
        "{count} numbers robbed of their zeros by a spreadsheet: shown for confirmation, never guessed",
    ),
    "register.returned": (
        "{count} dòng sai trả lại trong tra-lai.xlsx, kèm cột Lý do",
        "{count} wrong rows came back in tra-lai.xlsx with a column of reasons",
    ),
    "register.approved": (
        "kê khai → kiểm tra, thẩm định → phê duyệt, bởi ba người khác nhau",
        "declare → check, appraise → approve, by three different people",
    ),
    "register.stale": (
        "{fit} hồ sơ đủ điều kiện cấp thẻ; {stale} chưa đủ, mỗi hồ sơ nêu rõ lý do:",
        "{fit} records may get a card; {stale} may not, each with its reason:",
    ),
    "register.no_card": (
        "đề nghị cấp thẻ cho người chưa đủ điều kiện: bị từ chối",
        "a request for somebody not up to date: refused",
    ),
    "stage.request": ("3. Đề nghị, phê duyệt, cấp phôi", "3. Request, approve, allocate"),
    "request.own": (
        "người đề nghị không được tự phê duyệt: bị từ chối",
        "who asked may not approve: refused",
    ),
    "request.done": (
        "3 thẻ chip và 1 thẻ nhựa: đề nghị, phê duyệt bởi người khác, nhận phôi",
        "3 chip cards and 1 plastic card: requested, approved by somebody else, blanks allocated",
    ),
    "request.jobs": (
        "HSM chỉ mở phiên với các thẻ mà tiến trình lập thẻ đã giao; tiến trình ghi chip không có mã PIN giao việc",
        "the HSM opens channels for the cards that this process allocated alone; who personalises has no PIN for that",
    ),
    "request.no_jobs": (
        "thiết bị PKCS #11 không có vai trò giao việc: việc nào cũng được mở phiên với thẻ",
        "a PKCS #11 device knows no allocator: any job may open a channel to a card",
    ),
    "stage.encode": ("4. Ghi chip", "4. Personalise"),
    "encode.carrier": (
        "pcscd thật với đầu đọc ảo trong không gian tên riêng; thẻ trắng nằm ở khe tiếp xúc",
        "a real pcscd with the virtual reader in namespaces of its own; a blank lies in the contact slot",
    ),
    "encode.doing": ("Đang ghi chip cho {name}", "Encoding for {name}"),
    "encode.done": (
        "{name}: {exchanges} lượt trao đổi, {bytes} byte, {seconds:.1f} s",
        "{name}: {exchanges} exchanges, {bytes} bytes, {seconds:.1f} s",
    ),
    "encode.steps": (
        "kênh SCP03, đổi khóa vận chuyển sang khóa riêng, 9B, PUK, PIN, 4 cặp khóa tạo trên thẻ, chứng thư, CHUID, "
        "ảnh, phiếu thẻ; tất cả đọc lại và kiểm tra",
        "SCP03 channel, transport keys rotated to per-card keys, 9B, PUK, PIN, 4 key pairs made on the card, "
        "certificates, CHUID, portrait, credential; all read back and verified",
    ),
    "encode.torn": ("thẻ bị rút ở lượt trao đổi {n}: {why}", "the card was pulled at exchange {n}: {why}"),
    "encode.whole": (
        "lượt trao đổi {n} nằm sau khi thẻ đã xong ({exchanges})",
        "exchange {n} lies after the end of the job ({exchanges})",
    ),
    "encode.resumed": ("đưa thẻ vào lại: ghi tiếp và xong", "put in again: resumed and finished"),
    "encode.spoiled": (
        "phôi hỏng, ghi rõ lý do; một phôi khác thế vào",
        "spoiled, with its reason; another blank takes its place",
    ),
    "encode.consistent": (
        "sổ sách khớp: mỗi đề nghị một thẻ sống, phôi không dùng hai lần",
        "the register is consistent: one live card for each request, no blank used twice",
    ),
    "encode.active": ("4 thẻ đã bàn giao và có hiệu lực", "4 cards handed over and active"),
    "stage.faces": ("5. Hai mặt thẻ", "5. The two faces"),
    "faces.drawn": ("mặt trước {front}\n   mặt sau   {back}", "front {front}\n   back  {back}"),
    "faces.plain": (
        "QR mặt trước, máy đọc độc lập thấy: {text}",
        "front QR, read by an independent reader: {text}",
    ),
    "faces.signed": (
        "QR mặt sau {mm:.1f} mm, đọc được: {text}…",
        "back QR {mm:.1f} mm, read: {text}…",
    ),
    "faces.plastic": (
        "thẻ nhựa của {name}: không chip, cùng QR, cùng trạng thái và thu hồi",
        "the plastic card of {name}: no chip, same QR, status and revocation",
    ),
    "stage.door": ("6. Cửa", "6. The door"),
    "door.enrolled": (
        "«{name}» đã ghi danh bằng mã một lần, nhận danh sách tin cậy, trạng thái, quy tắc: đều có chữ ký và số thứ tự",
        "“{name}” enrolled with a one-time code, got trust list, status, rules: all signed and numbered",
    ),
    "door.rules": (
        "quy tắc: {name} được vào; {plastic}, người chỉ có thẻ nhựa, được vào; khách của {agency} được vào",
        "rules: {name} may enter; {plastic}, who has only a plastic card, may enter; visitors of {agency} may enter",
    ),
    "door.opened": (
        "CHO VÀO  {name} ({agency})  {exchanges} lượt, {bytes} byte, thẻ {card:.1f} ms, cả lượt {total:.1f} ms",
        "GRANTED  {name} ({agency})  {exchanges} exchanges, {bytes} bytes, card {card:.1f} ms, all {total:.1f} ms",
    ),
    "door.refused": ("TỪ CHỐI  {who}: {why} [{reason}]", "REFUSED  {who}: {why} [{reason}]"),
    "stage.strangers": ("7. Những gì không qua được", "7. What does not get through"),
    "who.clone": ("bản sao mang dữ liệu công khai của thẻ", "a clone with copied public data"),
    "who.unknown": ("thẻ của nơi cấp không ai biết", "a card of an unknown issuer"),
    "who.rules": ("thẻ thật của {name}, ngoài quy tắc của cửa", "{name}'s real card, outside the door's rules"),
    "plastic.nothing": (
        "thẻ nhựa không có gì cho cửa: trung tâm không giữ khóa nào của nó, gói quy tắc số {seq} của cửa (số thẻ: "
        "{count}) không có nó, dù người này được phép vào",
        "a plastic card has nothing for a door: the centre knows no key of it, the door's bundle no. {seq} (cards: "
        "{count}) does not list it, though its holder may enter",
    ),
    "who.qr": ("chip giả mang mã QR của thẻ nhựa", "a made-up chip with the plastic card's QR statement"),
    "who.plastic": ("chip giả mang số của thẻ nhựa", "a made-up chip with the plastic card's UUID and status"),
    "stage.offline": ("8. Mất mạng", "8. The network is cut"),
    "offline.cut": (
        "tiến trình cấp tin bị cắt (kill -9): cửa không còn nghe thấy trung tâm",
        "the feed was cut (kill -9): the door hears nothing from the centre",
    ),
    "offline.granted": ("cửa vẫn quyết định được trong giới hạn của mình", "the door goes on within its limits"),
    "offline.back": (
        "cấp tin chạy lại; cửa nối lại và gửi nốt nhật ký: {count} sự việc ở trung tâm",
        "the feed is back; the door reconnects and sends its log: {count} events at the centre",
    ),
    "stage.block": ("9. Khóa thẻ", "9. Khóa thẻ: block the card"),
    "block.clicked": (
        "cán bộ cấp thẻ bấm Khóa thẻ trên trang quản lý, lý do: mất thẻ",
        "the officer presses Khóa thẻ in the console, reason: lost",
    ),
    "block.confirmed": (
        "{confirmed}/{total} cửa xác nhận (biên nhận có chữ ký) sau {ms:.0f} ms",
        "{confirmed}/{total} doors confirmed (signed receipt) after {ms:.0f} ms",
    ),
    "block.refused": (
        "từ lúc bấm đến lúc cửa từ chối, kể cả thời gian đưa thẻ vào đầu đọc: {ms:.0f} ms",
        "from the click to the refusal, putting the card into the reader included: {ms:.0f} ms",
    ),
    "block.plastic": (
        "thẻ nhựa của {name} cũng bị khóa được như mọi thẻ; trang công khai nói: đã khóa",
        "the plastic card of {name} is blocked like any other; the public page says: blocked",
    ),
    "revoke.refused": (
        "rồi bấm Thu hồi thẻ, vĩnh viễn: từ lúc bấm đến lúc cửa từ chối {ms:.0f} ms",
        "then Thu hồi thẻ, for good: from the click to the refusal {ms:.0f} ms",
    ),
    "block.public": ("trang công khai nay nói: đã khóa", "the public page now says: blocked"),
    "stage.proof": ("10. Đối chiếu", "10. The books"),
    "proof.audit": ("nhật ký kiểm toán: {words}", "audit log: {words}"),
    "proof.door": ("nhật ký cửa: {words}", "door log: {words}"),
    "proof.device": (
        "thiết bị giữ {words} khóa: không khóa nào lấy ra hay sửa được",
        "the device holds {words} keys: none can be taken out or changed",
    ),
    "proof.hsm": ("nhật ký HSM: {words}", "HSM log: {words}"),
    "once": (
        "Xong trong {seconds:.0f} s; mọi việc đúng như phải thế.",
        "Done in {seconds:.0f} s; everything came out as it should.",
    ),
    "running": (
        "Trang quản lý đang chạy: {url}\nLiên kết một lần của quản trị viên đầu tiên:\n  {link}\n"
        "Ctrl-C kết thúc tất cả.",
        "The console is running: {url}\nOne-time link for the first administrator:\n  {link}\nCtrl-C ends it all.",
    ),
    "running.card": (
        "Một thẻ nằm ở khe tiếp xúc; phần mềm khác đọc được, thí dụ:",
        "A card lies in the contact slot; other software can read it, for example:",
    ),
    "restarted": ("{name} đã dừng và được chạy lại", "{name} had ended and was started again"),
    "ended": ("Đã kết thúc.", "Ended."),
    "failed": ("Không như phải thế: {what}", "Not as it should be: {what}"),
    "failed.hint": (
        "lời của từng tiến trình nằm trong {folder}",
        "the processes' own words are in {folder}",
    ),
}
