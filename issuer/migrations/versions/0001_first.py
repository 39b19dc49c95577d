"""The tables of the centre as first released."""

import sqlalchemy as sa
from alembic import op

from issuer.database import UtcDateTime

revision = "0001"
down_revision = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "agencies",
        sa.Column("code", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("short_name", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("successor", TEXT, nullable=True),
        sa.Column("parent", TEXT, nullable=True),
        sa.Column("scheme", BIG, nullable=False),
        sa.CheckConstraint("scheme IN (1, 2)", name=op.f("ck_agencies_scheme")),
        sa.ForeignKeyConstraint(["parent"], ["agencies.code"], name=op.f("fk_agencies_parent")),
        sa.ForeignKeyConstraint(["successor"], ["agencies.code"], name=op.f("fk_agencies_successor")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_agencies")),
    )
    op.create_table(
        "audit_log",
        sa.Column("n", BIG, autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_action"), "audit_log", ["action"], unique=False)
    op.create_index(op.f("ix_audit_log_subject"), "audit_log", ["subject"], unique=False)
    op.create_table(
        "authorities",
        sa.Column("label", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("point", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.Column("signs_until", UtcDateTime(), nullable=False),
        sa.Column("state", BIG, nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_authorities")),
        sa.UniqueConstraint("kind", "agency_code", "serial", name=op.f("uq_authorities_kind_agency_code_serial")),
    )
    op.create_table(
        "calendars",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("owner_agency", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("week", sa.JSON(), nullable=False),
        sa.Column("days", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("owner_agency", "name", name=op.f("uq_calendars_owner_agency_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "doors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("area", TEXT, nullable=False),
        sa.Column("level", BIG, nullable=False),
        sa.Column("owner_agency", TEXT, nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("kid", sa.LargeBinary(), nullable=True),
        sa.Column("code_hash", sa.LargeBinary(), nullable=True),
        sa.Column("code_expires", UtcDateTime(), nullable=True),
        sa.Column("enrolled_at", UtcDateTime(), nullable=True),
        sa.Column("enrolment", BIG, nullable=False),
        sa.Column("accepts_gap", sa.Boolean(), nullable=False),
        sa.Column("last_seen", UtcDateTime(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.Column("bundle_seq", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_doors")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_doors_code_hash")),
    )
    op.create_index(op.f("ix_doors_owner_agency"), "doors", ["owner_agency"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "photos",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
        sa.Column("width", BIG, nullable=False),
        sa.Column("height", BIG, nullable=False),
        sa.Column("stored", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_photos")),
    )
    op.create_index(op.f("ix_photos_source_sha256"), "photos", ["source_sha256"], unique=False)
    op.create_table(
        "places",
        sa.Column("code", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_places")),
    )
    op.create_table(
        "positions",
        sa.Column("code", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("level", TEXT, nullable=False),
        sa.Column("colour", TEXT, nullable=False),
        sa.Column("shape", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_positions")),
    )
    op.create_table(
        "root_keys",
        sa.Column("label", TEXT, nullable=False),
        sa.Column("kid", sa.LargeBinary(), nullable=False),
        sa.Column("point", sa.LargeBinary(), nullable=False),
        sa.Column("threshold", BIG, nullable=False),
        sa.Column("since", BIG, nullable=False),
        sa.Column("until", BIG, nullable=True),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_root_keys")),
        sa.UniqueConstraint("kid", name=op.f("uq_root_keys_kid")),
    )
    op.create_table(
        "sign_in_counts",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("locked_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_counts")),
    )
    op.create_table(
        "signers",
        sa.Column("label", TEXT, nullable=False),
        sa.Column("kid", sa.LargeBinary(), nullable=False),
        sa.Column("use", TEXT, nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("point", sa.LargeBinary(), nullable=False),
        sa.Column("signs_from", UtcDateTime(), nullable=False),
        sa.Column("signs_until", UtcDateTime(), nullable=False),
        sa.Column("verifies_until", UtcDateTime(), nullable=False),
        sa.Column("state", BIG, nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_signers")),
        sa.UniqueConstraint("kid", name=op.f("uq_signers_kid")),
    )
    op.create_index(
        "uq_signers_active",
        "signers",
        ["agency_code", "use"],
        unique=True,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "status_feed",
        sa.Column("epoch", BIG, autoincrement=False, nullable=False),
        sa.Column("seq", BIG, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "seq", name=op.f("pk_status_feed")),
    )
    op.create_table(
        "status_head",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_status_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_head")),
    )
    op.create_table(
        "status_lists",
        sa.Column("n", BIG, autoincrement=False, nullable=False),
        sa.Column("length", BIG, nullable=False),
        sa.Column("used", BIG, nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_status_lists")),
    )
    op.create_table(
        "stock",
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("batch", TEXT, nullable=False),
        sa.Column("transport_label", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("added", UtcDateTime(), nullable=False),
        sa.Column("changed", UtcDateTime(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_stock")),
    )
    op.create_index("ix_stock_state", "stock", ["state", "serial"], unique=False)
    op.create_table(
        "trust_lists",
        sa.Column("number", BIG, autoincrement=False, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("issued", UtcDateTime(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_trust_lists")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", TEXT, nullable=False),
        sa.Column("full_name", TEXT, nullable=False),
        sa.Column("language", TEXT, nullable=False),
        sa.Column("password_hash", TEXT, nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("login", name=op.f("uq_users_login")),
    )
    op.create_table(
        "bundles",
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_bundles_door_id")),
        sa.PrimaryKeyConstraint("door_id", name=op.f("pk_bundles")),
    )
    op.create_index(op.f("ix_bundles_expires"), "bundles", ["expires"], unique=False)
    op.create_table(
        "door_alarms",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.Column("seen_by", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_door_alarms_door_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_door_alarms")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_door_alarms_door_id"), "door_alarms", ["door_id"], unique=False)
    op.create_table(
        "door_events",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("enrolment", BIG, nullable=False),
        sa.Column("boot", BIG, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("clock", BIG, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("decision", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("card_uuid", sa.Uuid(), nullable=True),
        sa.Column("mechanism", BIG, nullable=True),
        sa.Column("elapsed_us", BIG, nullable=False),
        sa.Column("received", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_door_events_door_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_door_events")),
        sa.UniqueConstraint(
            "door_id", "enrolment", "boot", "seq", name=op.f("uq_door_events_door_id_enrolment_boot_seq")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_door_events_card", "door_events", ["card_uuid", "id"], unique=False)
    op.create_index("ix_door_events_door", "door_events", ["door_id", "id"], unique=False)
    op.create_table(
        "door_heads",
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("enrolment", BIG, autoincrement=False, nullable=False),
        sa.Column("boot", BIG, autoincrement=False, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_door_heads_door_id")),
        sa.PrimaryKeyConstraint("door_id", "enrolment", "boot", name=op.f("pk_door_heads")),
    )
    op.create_table(
        "door_rules",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("effect", BIG, nullable=False),
        sa.Column("agencies", sa.JSON(), nullable=False),
        sa.Column("calendar_id", BIG, nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=True),
        sa.Column("valid_until", UtcDateTime(), nullable=True),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.CheckConstraint("effect IN (0, 1)", name=op.f("ck_door_rules_effect")),
        sa.ForeignKeyConstraint(["calendar_id"], ["calendars.id"], name=op.f("fk_door_rules_calendar_id")),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_door_rules_door_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_door_rules")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_door_rules_door_id"), "door_rules", ["door_id"], unique=False)
    op.create_table(
        "invitations",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.Column("used", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_invitations_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_invitations")),
    )
    op.create_index(op.f("ix_invitations_user_id"), "invitations", ["user_id"], unique=False)
    op.create_table(
        "people",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("citizen_number", TEXT, nullable=False),
        sa.Column("full_name", TEXT, nullable=False),
        sa.Column("name_fold", TEXT, nullable=False),
        sa.Column("name_sort", TEXT, nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=False),
        sa.Column("sex", BIG, nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("unit", TEXT, nullable=False),
        sa.Column("position_code", TEXT, nullable=True),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=False),
        sa.Column("photo_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("attested_on", sa.Date(), nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("declared_by", sa.Uuid(), nullable=True),
        sa.Column("checked_by", sa.Uuid(), nullable=True),
        sa.Column("appraised_by", sa.Uuid(), nullable=True),
        sa.Column("approved_by", sa.Uuid(), nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("updated", UtcDateTime(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.CheckConstraint("sex IN (1, 2)", name=op.f("ck_people_sex")),
        sa.ForeignKeyConstraint(["agency_code"], ["agencies.code"], name=op.f("fk_people_agency_code")),
        sa.ForeignKeyConstraint(["photo_sha256"], ["photos.sha256"], name=op.f("fk_people_photo_sha256")),
        sa.ForeignKeyConstraint(["position_code"], ["positions.code"], name=op.f("fk_people_position_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("citizen_number", name=op.f("uq_people_citizen_number")),
    )
    op.create_index(
        "ix_people_agency", "people", ["agency_code", "name_sort", "id", "name_fold", "state"], unique=False
    )
    op.create_index(
        "ix_people_name_sort", "people", ["name_sort", "id", "name_fold", "agency_code", "state"], unique=False
    )
    op.create_table(
        "receipts",
        sa.Column("door_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("received", UtcDateTime(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["door_id"], ["doors.id"], name=op.f("fk_receipts_door_id")),
        sa.PrimaryKeyConstraint("door_id", name=op.f("pk_receipts")),
    )
    op.create_table(
        "status_entries",
        sa.Column("list_n", BIG, autoincrement=False, nullable=False),
        sa.Column("idx", BIG, autoincrement=False, nullable=False),
        sa.Column("card_id", sa.Uuid(), nullable=False),
        sa.Column("value", BIG, nullable=False),
        sa.Column("changed", UtcDateTime(), nullable=False),
        sa.CheckConstraint("value BETWEEN 0 AND 3", name=op.f("ck_status_entries_two_bits")),
        sa.ForeignKeyConstraint(["list_n"], ["status_lists.n"], name=op.f("fk_status_entries_list_n")),
        sa.PrimaryKeyConstraint("list_n", "idx", name=op.f("pk_status_entries")),
        sa.UniqueConstraint("card_id", name=op.f("uq_status_entries_card_id")),
    )
    op.create_index(
        "ix_status_entries_not_valid",
        "status_entries",
        ["list_n", "idx", "value"],
        unique=False,
        sqlite_where=sa.text("value <> 0"),
        postgresql_where=sa.text("value <> 0"),
    )
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("agency_prefix", TEXT, nullable=False),
        sa.Column("granted", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_roles_user_id")),
        sa.PrimaryKeyConstraint("user_id", "role", "agency_prefix", name=op.f("pk_user_roles")),
    )
    op.create_table(
        "web_sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("last_seen", UtcDateTime(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.Column("revoked", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_web_sessions_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_user_id"), "web_sessions", ["user_id"], unique=False)
    op.create_table(
        "card_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("form", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_name", TEXT, nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_name", TEXT, nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decision_reason", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_card_requests_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_requests")),
    )
    op.create_index("ix_card_requests_agency", "card_requests", ["agency_code", "state", "id"], unique=False)
    op.create_index(op.f("ix_card_requests_person_id"), "card_requests", ["person_id"], unique=False)
    op.create_index(
        "uq_card_requests_open",
        "card_requests",
        ["person_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('requested', 'approved', 'allocated')"),
        postgresql_where=sa.text("state IN ('requested', 'approved', 'allocated')"),
    )
    op.create_table(
        "door_rule_people",
        sa.Column("rule_id", BIG, autoincrement=False, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_door_rule_people_person_id")),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["door_rules.id"], name=op.f("fk_door_rule_people_rule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rule_id", "person_id", name=op.f("pk_door_rule_people")),
    )
    op.create_index(op.f("ix_door_rule_people_person_id"), "door_rule_people", ["person_id"], unique=False)
    op.create_table(
        "person_revisions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("recorded", UtcDateTime(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_person_revisions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_revisions")),
        sa.UniqueConstraint("person_id", "version", name=op.f("uq_person_revisions_person_id_version")),
    )
    op.create_table(
        "person_steps",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("step", TEXT, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("opinion", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_person_steps_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_steps")),
    )
    op.create_index("ix_person_steps_person", "person_steps", ["person_id", "id"], unique=False)
    op.create_table(
        "cards",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("form", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("identifier", TEXT, nullable=False),
        sa.Column("stock_serial", TEXT, nullable=True),
        sa.Column("master_label", TEXT, nullable=True),
        sa.Column("kvn", BIG, nullable=True),
        sa.Column("status_list", BIG, nullable=False),
        sa.Column("status_idx", BIG, nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("encoded_by", sa.Uuid(), nullable=True),
        sa.Column("key_hash", sa.LargeBinary(), nullable=True),
        sa.Column("credential", sa.LargeBinary(), nullable=True),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.Column("qr_statement", sa.LargeBinary(), nullable=True),
        sa.Column("qr_text", TEXT, nullable=True),
        sa.Column("qr_plain", TEXT, nullable=True),
        sa.Column("state_reason", TEXT, nullable=True),
        sa.Column("blocked_from", TEXT, nullable=True),
        sa.Column("blocked_by", sa.Uuid(), nullable=True),
        sa.Column("blocked_at", UtcDateTime(), nullable=True),
        sa.Column("unblock_by", sa.Uuid(), nullable=True),
        sa.Column("job_token", sa.LargeBinary(), nullable=True),
        sa.Column("job_seen", UtcDateTime(), nullable=True),
        sa.Column("pin_taken_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(form = 'chip') = (stock_serial IS NOT NULL)", name=op.f("ck_cards_chip_has_blank")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_cards_person_id")),
        sa.ForeignKeyConstraint(["request_id"], ["card_requests.id"], name=op.f("fk_cards_request_id")),
        sa.ForeignKeyConstraint(["stock_serial"], ["stock.serial"], name=op.f("fk_cards_stock_serial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cards")),
        sa.UniqueConstraint("stock_serial", name=op.f("uq_cards_stock_serial")),
        sa.UniqueConstraint("uuid", name=op.f("uq_cards_uuid")),
    )
    op.create_index("ix_cards_agency", "cards", ["agency_code", "state", "id"], unique=False)
    op.create_index(op.f("ix_cards_person_id"), "cards", ["person_id"], unique=False)
    op.create_index(
        "uq_cards_active",
        "cards",
        ["person_id"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "uq_cards_request",
        "cards",
        ["request_id"],
        unique=True,
        sqlite_where=sa.text("state NOT IN ('spoiled', 'cancelled', 'destroyed')"),
        postgresql_where=sa.text("state NOT IN ('spoiled', 'cancelled', 'destroyed')"),
    )
    op.create_table(
        "card_certificates",
        sa.Column("card_id", sa.Uuid(), nullable=False),
        sa.Column("slot", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("issuer_label", TEXT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["cards.id"], name=op.f("fk_card_certificates_card_id")),
        sa.ForeignKeyConstraint(
            ["issuer_label"], ["authorities.label"], name=op.f("fk_card_certificates_issuer_label")
        ),
        sa.PrimaryKeyConstraint("card_id", "slot", name=op.f("pk_card_certificates")),
        sa.UniqueConstraint("serial", name=op.f("uq_card_certificates_serial")),
    )
    op.create_table(
        "personalisation_objects",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("tag", BIG, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["cards.id"], name=op.f("fk_personalisation_objects_job")),
        sa.PrimaryKeyConstraint("job", "tag", name=op.f("pk_personalisation_objects")),
    )
    op.create_table(
        "personalisation_steps",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("n", BIG, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("tries", BIG, nullable=False),
        sa.Column("started", UtcDateTime(), nullable=False),
        sa.Column("done", UtcDateTime(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["cards.id"], name=op.f("fk_personalisation_steps_job")),
        sa.PrimaryKeyConstraint("job", "name", name=op.f("pk_personalisation_steps")),
    )


def downgrade() -> None:
    op.drop_table("personalisation_steps")
    op.drop_table("personalisation_objects")
    op.drop_table("card_certificates")
    op.drop_index(
        "uq_cards_request",
        table_name="cards",
        sqlite_where=sa.text("state NOT IN ('spoiled', 'cancelled', 'destroyed')"),
        postgresql_where=sa.text("state NOT IN ('spoiled', 'cancelled', 'destroyed')"),
    )
    op.drop_index(
        "uq_cards_active",
        table_name="cards",
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.drop_index(op.f("ix_cards_person_id"), table_name="cards")
    op.drop_index("ix_cards_agency", table_name="cards")
    op.drop_table("cards")
    op.drop_index("ix_person_steps_person", table_name="person_steps")
    op.drop_table("person_steps")
    op.drop_table("person_revisions")
    op.drop_index(op.f("ix_door_rule_people_person_id"), table_name="door_rule_people")
    op.drop_table("door_rule_people")
    op.drop_index(
        "uq_card_requests_open",
        table_name="card_requests",
        sqlite_where=sa.text("state IN ('requested', 'approved', 'allocated')"),
        postgresql_where=sa.text("state IN ('requested', 'approved', 'allocated')"),
    )
    op.drop_index(op.f("ix_card_requests_person_id"), table_name="card_requests")
    op.drop_index("ix_card_requests_agency", table_name="card_requests")
    op.drop_table("card_requests")
    op.drop_index(op.f("ix_web_sessions_user_id"), table_name="web_sessions")
    op.drop_table("web_sessions")
    op.drop_table("user_roles")
    op.drop_index(
        "ix_status_entries_not_valid",
        table_name="status_entries",
        sqlite_where=sa.text("value <> 0"),
        postgresql_where=sa.text("value <> 0"),
    )
    op.drop_table("status_entries")
    op.drop_table("receipts")
    op.drop_index("ix_people_name_sort", table_name="people")
    op.drop_index("ix_people_agency", table_name="people")
    op.drop_table("people")
    op.drop_index(op.f("ix_invitations_user_id"), table_name="invitations")
    op.drop_table("invitations")
    op.drop_index(op.f("ix_door_rules_door_id"), table_name="door_rules")
    op.drop_table("door_rules")
    op.drop_table("door_heads")
    op.drop_index("ix_door_events_door", table_name="door_events")
    op.drop_index("ix_door_events_card", table_name="door_events")
    op.drop_table("door_events")
    op.drop_index(op.f("ix_door_alarms_door_id"), table_name="door_alarms")
    op.drop_table("door_alarms")
    op.drop_index(op.f("ix_bundles_expires"), table_name="bundles")
    op.drop_table("bundles")
    op.drop_table("users")
    op.drop_table("trust_lists")
    op.drop_index("ix_stock_state", table_name="stock")
    op.drop_table("stock")
    op.drop_table("status_lists")
    op.drop_table("status_head")
    op.drop_table("status_feed")
    op.drop_index(
        "uq_signers_active",
        table_name="signers",
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.drop_table("signers")
    op.drop_table("sign_in_counts")
    op.drop_table("root_keys")
    op.drop_table("positions")
    op.drop_table("places")
    op.drop_index(op.f("ix_photos_source_sha256"), table_name="photos")
    op.drop_table("photos")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_doors_owner_agency"), table_name="doors")
    op.drop_table("doors")
    op.drop_table("calendars")
    op.drop_table("authorities")
    op.drop_index(op.f("ix_audit_log_subject"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_action"), table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_table("agencies")
