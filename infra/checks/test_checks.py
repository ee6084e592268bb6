"""Each rule fires on a sample, and each exception is honoured: python test_checks.py"""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import migrations
import pinned

TIMEOUT = "SET LOCAL lock_timeout = '2s';\n"
LATER = "9999-01-01-000000_sample"


def rules(sql, before=(), metadata=None):
    """The rules that a migration breaks, after those of `before`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / LATER
        folder.mkdir()
        proofs = migrations.Proofs()
        for earlier in before:
            proofs.learn(migrations.Script(earlier))
        (folder / "up.sql").write_text(sql)
        if metadata:
            (folder / "metadata.toml").write_text(metadata)
        return sorted({finding.rule for finding in migrations.check(folder, proofs)})


class Migrations(unittest.TestCase):
    def test_each_rule_fires_and_each_exception_is_honoured(self):
        for rule, sql in {
            "ban-drop-table": "DROP TABLE old;",
            "ban-drop-column": "ALTER TABLE clients DROP COLUMN old;",
            "ban-drop-view": "DROP VIEW old;",
            "ban-drop-function": "DROP FUNCTION old(text);",
            "renaming-column": "ALTER TABLE clients RENAME COLUMN a TO b;",
            "renaming-table": "ALTER TABLE clients RENAME TO customers;",
            "changing-column-type": "ALTER TABLE clients ALTER COLUMN a TYPE text;",
            "adding-not-nullable-field": "ALTER TABLE clients ALTER COLUMN a SET NOT NULL;",
            "adding-required-field": "ALTER TABLE clients ADD COLUMN a text NOT NULL;",
            "adding-field-with-default": "ALTER TABLE clients ADD COLUMN a uuid DEFAULT gen_random_uuid();",
            "prefer-identity": "ALTER TABLE clients ADD COLUMN a bigserial;",
            "require-concurrent-index-creation": "CREATE INDEX clients_a ON clients (a);",
            "require-concurrent-index-deletion": "DROP INDEX clients_a;",
            "ban-concurrent-index-creation-in-transaction": "CREATE INDEX CONCURRENTLY clients_a ON clients (a);",
            "constraint-missing-not-valid": "ALTER TABLE clients ADD CONSTRAINT a CHECK (a > 0);",
            "inline-check": "ALTER TABLE clients ADD COLUMN a bigint CHECK (a > 0);",
            "lock-table": "LOCK TABLE clients;",
            "unbounded-write": "UPDATE clients SET a = 1;",
            "do-block": "DO $$ BEGIN PERFORM 1; END $$;",
        }.items():
            with self.subTest(rule):
                self.assertEqual(rules(TIMEOUT + sql), [rule])
                allowed = f"{TIMEOUT}-- lint: allow {rule}: a reason that one can read\n{sql}"
                self.assertEqual(rules(allowed), [])
                self.assertIn(rule, rules(allowed.replace(f"allow {rule}", "allow another-rule")))

    def test_foreign_keys_and_unique_constraints_need_not_valid_or_an_index(self):
        key = "ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES c (d)"
        found = ["adding-foreign-key-constraint", "constraint-missing-not-valid"]
        self.assertEqual(rules(f"{TIMEOUT}{key};"), found)
        self.assertEqual(rules(f"{TIMEOUT}{key} NOT VALID;"), [])
        self.assertIn("disallowed-unique-constraint", rules(f"{TIMEOUT}ALTER TABLE a ADD CONSTRAINT k UNIQUE (b);"))
        self.assertEqual(rules(f"{TIMEOUT}ALTER TABLE a ADD CONSTRAINT k UNIQUE USING INDEX i;"), [])

    def test_what_expands_passes(self):
        self.assertEqual(
            rules(
                f"""-- Of what comes; „é“.
                {TIMEOUT}
                CREATE TABLE fresh (id uuid PRIMARY KEY, client_id bigint REFERENCES clients (id));
                CREATE INDEX fresh_client ON fresh (client_id);
                UPDATE fresh SET client_id = NULL;
                ALTER TABLE clients ADD COLUMN note text, ADD COLUMN kind text NOT NULL DEFAULT 'plain';
                ALTER TABLE clients ADD COLUMN seen_at timestamptz DEFAULT now();
                ALTER TABLE clients DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (kind IN ('plain', 'other')) NOT VALID;
                UPDATE settings SET value = 'DROP TABLE x;' WHERE name = 'a; -- lint: allow nothing';
                CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $body$ DELETE FROM clients; $body$;
                """
            ),
            [],
        )

    def test_every_write_of_a_whole_table_is_seen(self):
        for sql in (
            "DELETE FROM clients;",
            "WITH gone AS (DELETE FROM clients RETURNING id) SELECT 1 FROM gone;",
        ):
            self.assertEqual(rules(TIMEOUT + sql), ["unbounded-write"])
        self.assertEqual(rules(f"{TIMEOUT}TRUNCATE clients;"), ["lock-table"])
        for sql in ("REFRESH MATERIALIZED VIEW totals;", "CLUSTER clients USING clients_pkey;"):
            self.assertEqual(rules(TIMEOUT + sql), ["lock-table"])

    def test_the_lock_timeout_comes_first_and_is_local(self):
        add = "ALTER TABLE clients ADD COLUMN a text;"
        for sql in (
            add,
            f"SET lock_timeout = '2s'; {add}",
            f"SET LOCAL lock_timeout = 0; {add}",
            f"{add} {TIMEOUT}",
            f"SET LOCAL statement_timeout = '2s'; {add}",
        ):
            self.assertEqual(rules(sql), ["lock-timeout"], sql)

    def test_not_null_is_set_once_a_check_of_it_was_validated(self):
        add = "ALTER TABLE clients ADD CONSTRAINT a_there CHECK (a IS NOT NULL) NOT VALID;"
        validate = "ALTER TABLE clients VALIDATE CONSTRAINT a_there;"
        drop = "ALTER TABLE clients DROP CONSTRAINT a_there;"
        sql = f"{TIMEOUT}ALTER TABLE clients ALTER COLUMN a SET NOT NULL; {drop}"
        self.assertEqual(rules(sql, [add, validate]), [])
        self.assertEqual(rules(TIMEOUT + validate, [add]), [])
        for before in ([], [add], [add, validate, drop], [add.replace("(a ", "(b "), validate]):
            self.assertEqual(rules(sql, before), ["adding-not-nullable-field"], before)
        self.assertEqual(rules(TIMEOUT + add + validate), ["constraint-missing-not-valid"])

    def test_outside_a_transaction_there_is_one_statement(self):
        outside = "run_in_transaction = false\n"
        index = "CREATE INDEX CONCURRENTLY clients_a ON clients (a);"
        self.assertEqual(rules(index, metadata=outside), [])
        self.assertEqual(rules(index + index.replace("_a", "_b"), metadata=outside), ["outside-transaction"])
        self.assertIn("outside-transaction", rules(TIMEOUT + index, metadata=outside))

    def test_an_exception_needs_a_reason_and_something_to_allow(self):
        drop = "DROP TABLE old;"
        self.assertEqual(rules(f"{TIMEOUT}-- lint: allow ban-drop-table\n{drop}"), ["ban-drop-table", "exception"])
        self.assertEqual(rules(f"{TIMEOUT}-- lint: allow ban-drop-table: yes\n{drop}"), ["ban-drop-table", "exception"])
        self.assertEqual(rules(f"{TIMEOUT}-- lint: allow ban-drop-table: nobody reads it\nSELECT 1;"), ["exception"])
        far = f"{TIMEOUT}-- lint: allow ban-drop-table: nobody reads it\n\n{drop}"
        self.assertEqual(rules(far), ["ban-drop-table", "exception"])
        self.assertIn("squawk-ignore", rules(f"{TIMEOUT}-- squawk-ignore ban-drop-table\n{drop}"))
        two = (
            f"{TIMEOUT}-- lint: allow ban-drop-column: nothing reads it since 0.3.0\n"
            "-- lint: allow renaming-column: no version reads either name\n"
            "ALTER TABLE a\n    DROP COLUMN b;\n"
        )
        self.assertEqual(rules(two), ["exception"])

    def test_an_exception_stands_before_the_statement_or_the_line(self):
        line = "-- lint: allow ban-drop-column: nothing reads it since 0.3.0\n"
        self.assertEqual(rules(f"{TIMEOUT}ALTER TABLE a\n    ADD COLUMN c text,\n{line}    DROP COLUMN b;"), [])
        self.assertEqual(rules(f"{TIMEOUT}{line}ALTER TABLE a\n    ADD COLUMN c text,\n    DROP COLUMN b;"), [])

    def test_what_cannot_be_read_is_refused(self):
        self.assertEqual(rules("ALTER TABLE;"), ["syntax"])

    def test_every_migration_has_a_way_back_and_old_ones_are_left_alone(self):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / migrations.BASELINE
            folder.mkdir()
            (folder / "up.sql").write_text("DROP TABLE a;")
            said = io.StringIO()
            with contextlib.redirect_stdout(said), self.assertRaises(SystemExit):
                migrations.main(Path(place))
            self.assertIn("down.sql:1: down:", said.getvalue())
            self.assertNotIn("ban-drop-table", said.getvalue())


class Pinned(unittest.TestCase):
    GOOD = (
        "on: push\npermissions: {}\njobs:\n  a:\n    runs-on: x\n    steps:\n"
        f"      - uses: actions/checkout@{'0' * 40} # v7.0.1\n      - uses: ./here\n      - run: echo $A\n"
    )

    def faults(self, old, new):
        return [line for line, _ in pinned.check(self.GOOD.replace(old, new))]

    def test_a_good_workflow_passes(self):
        self.assertEqual(self.faults("", ""), [])

    def test_tags_short_commits_and_missing_versions_are_seen(self):
        commit = "0" * 40
        for new in ("v7", "0" * 39, "main"):
            self.assertEqual(self.faults(commit, new), [7], new)
        self.assertEqual(self.faults(" # v7.0.1", ""), [7])
        self.assertEqual(self.faults("# v7.0.1", "# main"), [7])

    def test_missing_permissions_are_seen(self):
        self.assertEqual(self.faults("permissions: {}\n", ""), [1])

    def test_expressions_in_scripts_are_seen(self):
        self.assertEqual(self.faults("echo $A", "echo ${{ inputs.a }}"), [9])
        self.assertEqual(self.faults("echo $A", "|\n          echo\n          echo ${{ github.sha }}"), [9])


if __name__ == "__main__":
    unittest.main()
