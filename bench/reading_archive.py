"""The archive that section `reading` reads: three stays a patient over three years, on SQLite and on PostgreSQL.

Made from the loaded archive of the other sections, once, and kept beside it. What is added is spread by arithmetic,
not by chance, so that two runs read the same rows.
"""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.ours import run_hcrm
from bench.places import DATABASE, sqlite_place
from bench.setting import Setting

STAYS = 3
DAYS = 1095
IN_BED = 1_500
"""Every so many stays one is not over yet."""
DEAD = 33
"""Of so many patients one has died."""
_PATIENCE = {100_000: 900, 1_000_000: 7200}

_DAYS_BACK = "((e.rowid * 7919 + n.n * 104729) % :days)"
_SPREAD = f"""
CREATE TEMP TABLE house AS SELECT row_number() OVER (ORDER BY id) - 1 AS n, id FROM department;
CREATE TEMP TABLE staff AS SELECT row_number() OVER (ORDER BY id) - 1 AS n, id FROM practitioner;
CREATE TEMP TABLE stay AS
  SELECT CASE n.n WHEN 0 THEN e.id ELSE char(102 + n.n) || substr(e.id, 2) END AS id, n.n AS n, e.rowid AS source,
    datetime('now', '-' || {_DAYS_BACK} || ' days', '-' || (e.rowid % 600) || ' minutes') AS ended,
    (e.rowid + n.n) % :in_bed = 0 AS is_in_bed, (e.rowid * 31 + n.n * 17) AS spread
  FROM encounter e JOIN (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2) n;
"""
_REGION = (
    "CASE WHEN s.spread / 101 % 100 < 60 THEN 'same_county' WHEN s.spread / 101 % 100 < 80 THEN 'same_city' "
    "WHEN s.spread / 101 % 100 < 98 THEN 'same_province' ELSE 'other_province' END"
)
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?"


def reading_archive(setting: Setting, loaded: Path) -> Path:
    """The SQLite archive, made from the loaded one the first time."""
    folder = setting.home / loaded.name.replace("archive-", "reading-", 1)
    if folder.exists():
        return folder
    for stale in setting.home.glob(f"reading-{setting.size}-*"):
        shutil.rmtree(stale)
    making = setting.folder / "reading-making"
    started = time.monotonic()
    shutil.copytree(loaded, making)
    spread_stays(making / DATABASE)
    run_hcrm("segments", "rebuild", "--db", sqlite_place(making).url, env={}, seconds=_PATIENCE[setting.size])
    with closing(sqlite3.connect(making / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or every page is looked for in it first
    making.rename(folder)
    setting.say(f"archive for reading made in {time.monotonic() - started:.0f} s")
    return folder


def spread_stays(path: Path) -> None:
    """Three stays for every patient of an archive, classes to each, some who have died, some relatives' numbers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run = connection.execute
        run("PRAGMA synchronous = OFF")
        run("PRAGMA cache_size = -400000")
        run("BEGIN IMMEDIATE")
        for statement in filter(str.strip, _SPREAD.split(";")):
            # Parameters only where the statement names them: SQLite refuses the others.
            run(statement, {"days": DAYS, "in_bed": IN_BED} if ":days" in statement else {})
        for table, fill in (("encounter", _spread_encounters), ("classification", _classify)):
            rebuilt = run(_INDEXES, (table,)).fetchall()
            for name, _ in rebuilt:
                run(f"DROP INDEX {name}")
            fill(connection)
            for _, made in rebuilt:
                run(made)
        run(
            "INSERT INTO related_person (id, patient_id, rank, name, relation, phone_sealed, phone_index, "
            "phone_last4_index, source, as_of, seq) SELECT 'r' || substr(id, 2), patient_id, 1, '亲属', '配偶', "
            "value_sealed, value_index, last4_index, source, as_of, seq FROM contact_point WHERE rowid % 3 = 0"
        )
        run("UPDATE patient SET deceased = 'deceased' WHERE rowid % ? = 0", (DEAD,))
        run("COMMIT")
        run("PRAGMA wal_checkpoint(TRUNCATE)")


def _spread_encounters(connection: sqlite3.Connection) -> None:
    columns = [row[1] for row in connection.execute("PRAGMA table_info(encounter)")]
    given = {
        "id": "s.id",
        "visit_no": "e.visit_no || '-' || s.n",
        "status": "CASE WHEN s.is_in_bed THEN 'in-progress' ELSE 'finished' END",
        "discharged_at": "CASE WHEN s.is_in_bed THEN NULL ELSE s.ended || '.000000' END",
        "admitted_at": "datetime(s.ended, '-6 days') || '.000000'",
        "department_id": "house.id",
        "attending_id": "staff.id",
    }
    connection.execute("CREATE TEMP TABLE had AS SELECT rowid AS source, * FROM encounter")
    connection.execute("DELETE FROM encounter")
    connection.execute(
        f"INSERT INTO encounter ({', '.join(columns)}) SELECT "
        + ", ".join(given.get(name, f"e.{name}") for name in columns)
        + " FROM temp.stay s JOIN temp.had e ON e.source = s.source"
        " JOIN temp.house ON house.n = s.spread / 211 % (SELECT count(*) FROM temp.house)"
        " JOIN temp.staff ON staff.n = s.spread / 23 % (SELECT count(*) FROM temp.staff)"
    )


def _classify(connection: sqlite3.Connection) -> None:
    """A disease group for every stay, of twenty, and a region, of four with most patients from near by."""
    for axis, code in (
        ("disease_group", "'group' || (s.spread % 20)"),
        (
            "region",
            _REGION,
        ),
    ):
        connection.execute(
            "INSERT OR IGNORE INTO classification (id, encounter_id, axis, code, label, rank, rule_code, rule_version, "
            f"is_sensitive, is_provisional, classified_at) SELECT '{axis[0]}' || s.n || substr(s.id, 3), s.id, "
            f"'{axis}', {code}, {code}, 0, 'bench', 1, 0, 0, datetime('now') || '.000000' FROM temp.stay s"
        )
