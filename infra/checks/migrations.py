"""Refuses migrations that the running version would feel: python migrations.py [FOLDER]

While a release rolls out, processes of two versions work on one schema. So a migration only expands what is there;
what nobody uses any longer goes in a later release, with an exception. And it must not hold a lock for long.

Squawk knows most of the rules (its names are kept); the rest stand here, on PostgreSQL's own parser. An exception is a
comment on the line before the statement, or before the line of the finding:

    -- lint: allow ban-drop-column: nothing reads it since 0.3.0

It does not look into functions, and a WHERE that holds for every row passes.
"""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pglast
from pglast import ast, enums
from pglast.visitors import Visitor

# Nothing was released before this one, so it and those before it met no running version.
BASELINE = "2026-11-28-001500_notifications"

# The oldest server that the README promises.
POSTGRES = "14"

# What Squawk says that is not wanted, and why.
NOT_WANTED = {
    "ban-drop-constraint",  # a short lock; it is how a CHECK is widened here
    "prefer-bigint-over-int",  # a matter of the column
    "prefer-bigint-over-smallint",
    "prefer-robust-stmts",  # IF NOT EXISTS passes over an invalid index that a failed CONCURRENTLY left
    "require-enum-value-ordering",
    "require-lock-timeout",  # `lock-timeout` below asks for SET LOCAL, which ends with the transaction
    "require-statement-timeout",  # a lock is bounded, not the work under it
    "unused-ignore",
}

OWN = {
    "lock-timeout": (
        "While a statement waits for its lock, every later query of the table waits behind it.",
        "Begin the migration with `SET LOCAL lock_timeout = '2s';`. It then fails and is run again.",
    ),
    "lock-table": (
        "The table cannot be used until the migration ends.",
        "Leave the lock to the statement that needs it; refresh a view CONCURRENTLY, and by a run.",
    ),
    "unbounded-write": (
        "It locks and rewrites every row of the table in one transaction.",
        "Let a run do it in small batches, after the release.",
    ),
    "do-block": (
        "This lint cannot look into it.",
        "Write the statements themselves, or say in an exception what it does and for how long.",
    ),
    "inline-check": (
        "A CHECK of an added column scans the whole table under the strongest lock.",
        "Add the column, then ADD CONSTRAINT … CHECK (…) NOT VALID, and VALIDATE it in a later migration.",
    ),
    "outside-transaction": (
        "Statements of a migration are sent together, and PostgreSQL takes them for one transaction; of several that"
        " were not, half could be left behind.",
        "Give each its own migration: one statement, with run_in_transaction = false.",
    ),
    "squawk-ignore": (
        "It gives no reason.",
        "Write `-- lint: allow <rule>: <reason>`.",
    ),
    "exception": (
        "The exception is not written as `-- lint: allow <rule>: <reason>`, gives no reason, or allows what is not there.",
        "Mend or remove it.",
    ),
    "down": ("There is no down.sql, or it is empty.", "Write what undoes up.sql exactly."),
    "syntax": ("PostgreSQL cannot read it.", "Mend the statement."),
}

# What to do instead, where Squawk's word is wanting or does not fit here.
INSTEAD = {
    "adding-field-with-default": "Add it without default, write it from the code, fill it by a run in batches.",
    "adding-not-nullable-field": "In earlier migrations: ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID, then"
    " VALIDATE CONSTRAINT. With it SET NOT NULL scans nothing and is allowed.",
    "adding-required-field": "Add it nullable or with a constant default; the version before knows nothing of it.",
    "ban-drop-column": "Release code that does not use it, then drop it in a later release, with an exception.",
    "ban-drop-table": "Release code that does not use it, then drop it in a later release, with an exception.",
    "changing-column-type": "Add a column of the new type, write both, fill it by a run, read it, drop the old one later.",
    "prefer-identity": "A serial or identity column rewrites an existing table. Add a plain one and fill it by a run.",
    "renaming-column": "Add a column of the new name, write both, fill it by a run, drop the old one later.",
    "renaming-table": "Make a view of the new name, release, and rename when only the new name is used.",
    "require-concurrent-index-creation": "A migration of its own: CREATE INDEX CONCURRENTLY, and metadata.toml with"
    " run_in_transaction = false. Of a partitioned table: CREATE INDEX … ON ONLY, with an exception, and let a run"
    " build and attach those of the partitions.",
    "require-concurrent-index-deletion": "A migration of its own: DROP INDEX CONCURRENTLY, and metadata.toml with"
    " run_in_transaction = false.",
}

ALLOW = re.compile(r"^--\s*lint:\s*allow\s+([a-z-]+):\s*(\S.{9,})$")


@dataclass
class Finding:
    line: int
    rule: str
    why: str
    instead: str

    @classmethod
    def own(cls, line, rule):
        return cls(line, rule, *OWN[rule])


@dataclass
class Statement:
    first: int  # lines, from 1
    last: int
    node: ast.Node


class Script:
    """One up.sql: its statements, comments and lines."""

    def __init__(self, text):
        def line(offset):
            return text.count("\n", 0, offset) + 1

        tokens = pglast.parser.scan(text)
        is_comment = [token.name in ("SQL_COMMENT", "C_COMMENT") for token in tokens]
        self.comments = [
            (line(token.start), text[token.start : token.end + 1].strip())
            for token, comment in zip(tokens, is_comment)
            if comment
        ]
        self.statements = []
        for raw in pglast.parse_sql(text):
            end = raw.stmt_location + (raw.stmt_len or len(text))
            starts = [
                token.start
                for token, comment in zip(tokens, is_comment)
                if not comment and raw.stmt_location <= token.start < end
            ]
            self.statements.append(Statement(line(starts[0]), line(starts[-1]), raw.stmt))
        self.created = {
            statement.node.relation.relname
            for statement in self.statements
            if isinstance(statement.node, ast.CreateStmt)
        }


class Writes(Visitor):
    """Finds UPDATE and DELETE without a WHERE, also within WITH."""

    def __init__(self, created):
        super().__init__()
        self.created = created
        self.unbounded = False

    def _look(self, node):
        if node.whereClause is None and node.relation.relname not in self.created:
            self.unbounded = True

    def visit_UpdateStmt(self, _, node):
        self._look(node)

    def visit_DeleteStmt(self, _, node):
        self._look(node)


def sets_lock_timeout(node):
    return (
        isinstance(node, ast.VariableSetStmt)
        and node.is_local
        and node.name == "lock_timeout"
        and node.kind == enums.VariableSetKind.VAR_SET_VALUE
        and not re.fullmatch(r"0\D*", str(getattr(node.args[0].val, "sval", getattr(node.args[0].val, "ival", ""))))
    )


def has_inline_check(node, created):
    if not isinstance(node, ast.AlterTableStmt) or node.relation.relname in created:
        return False
    return any(
        command.subtype == enums.AlterTableType.AT_AddColumn
        and any(part.contype == enums.ConstrType.CONSTR_CHECK for part in command.def_.constraints or ())
        for command in node.cmds
    )


def blocks(node, created):
    if isinstance(node, ast.LockStmt):
        return any(table.relname not in created for table in node.relations)
    if isinstance(node, ast.TruncateStmt):
        return any(table.relname not in created for table in node.relations)
    return isinstance(node, ast.ClusterStmt) or (
        isinstance(node, ast.RefreshMatViewStmt) and not node.concurrent and node.relation.relname not in created
    )


def own_findings(script, in_transaction):
    statements = script.statements
    for line, text in script.comments:
        if "squawk-ignore" in text:
            yield Finding.own(line, "squawk-ignore")
    if not in_transaction and len(statements) > 1:
        yield Finding.own(statements[1].first, "outside-transaction")
    if in_transaction and statements and not sets_lock_timeout(statements[0].node):
        yield Finding.own(statements[0].first, "lock-timeout")
    for statement in statements:
        node = statement.node
        writes = Writes(script.created)
        writes(node)
        if writes.unbounded:
            yield Finding.own(statement.first, "unbounded-write")
        if blocks(node, script.created):
            yield Finding.own(statement.first, "lock-table")
        if isinstance(node, ast.DoStmt):
            yield Finding.own(statement.first, "do-block")
        if has_inline_check(node, script.created):
            yield Finding.own(statement.first, "inline-check")


def squawk(path, in_transaction):
    program = Path(sys.executable).parent / "squawk"
    answer = subprocess.run(
        [program, "--reporter=json", f"--pg-version={POSTGRES}", "--config=/dev/null"]
        + (["--assume-in-transaction"] if in_transaction else ["--no-assume-in-transaction"])
        + [path],
        capture_output=True,
        text=True,
    )
    if answer.returncode not in (0, 1):
        raise SystemExit(f"squawk failed on {path}: {answer.stderr.strip()}")
    for found in json.loads(answer.stdout or "[]"):
        rule = found["rule_name"]
        if rule not in NOT_WANTED:
            instead = INSTEAD.get(rule) or found["help"] or "Do it once no running version needs it, with an exception."
            yield Finding(found["line"] + 1, rule, found["message"], instead)


def commands(node, kind):
    if isinstance(node, ast.AlterTableStmt):
        for command in node.cmds:
            if command.subtype == kind:
                yield node.relation.relname, command


class Proofs:
    """Which columns a validated CHECK (column IS NOT NULL) of an earlier migration covers."""

    def __init__(self):
        self.checks = {}
        self.proven = set()

    def learn(self, script):
        for statement in script.statements:
            for table, command in commands(statement.node, enums.AlterTableType.AT_AddConstraint):
                test = command.def_.raw_expr
                if isinstance(test, ast.NullTest) and test.nulltesttype == enums.NullTestType.IS_NOT_NULL:
                    if isinstance(test.arg, ast.ColumnRef):
                        self.checks[table, command.def_.conname] = (table, test.arg.fields[-1].sval)
                        if not command.def_.skip_validation:
                            self.proven.add(self.checks[table, command.def_.conname])
            for table, command in commands(statement.node, enums.AlterTableType.AT_ValidateConstraint):
                if (table, command.name) in self.checks:
                    self.proven.add(self.checks[table, command.name])
            for table, command in commands(statement.node, enums.AlterTableType.AT_DropConstraint):
                self.proven.discard(self.checks.pop((table, command.name), None))

    def covers(self, statement):
        columns = [(table, it.name) for table, it in commands(statement.node, enums.AlterTableType.AT_SetNotNull)]
        return bool(columns) and all(column in self.proven for column in columns)


def without_exceptions(findings, script):
    """Drops what an exception allows; an exception that is wrong or allows nothing is a finding itself."""
    allowed, faults = {}, []
    for line, text in script.comments:
        if not re.match(r"--\s*lint:", text):
            continue
        match = ALLOW.match(text)
        if match:
            allowed[line] = match[1]
        else:
            faults.append(Finding.own(line, "exception"))
    used = set()

    def is_allowed(finding):
        lines = {finding.line}
        lines.update(it.first for it in script.statements if it.first <= finding.line <= it.last)
        for line in lines:
            above = line - 1
            while above in allowed:
                if allowed[above] == finding.rule:
                    used.add(above)
                    return True
                above -= 1
        return False

    kept = [finding for finding in findings if not is_allowed(finding)]
    faults += [Finding.own(line, "exception") for line in allowed if line not in used]
    return sorted(kept + faults, key=lambda it: (it.line, it.rule))


def runs_in_transaction(folder):
    metadata = folder / "metadata.toml"
    return not metadata.exists() or tomllib.loads(metadata.read_text()).get("run_in_transaction", True)


def check(folder, proofs):
    """The findings in one migration; `proofs` knows the earlier ones and learns this one."""
    path = folder / "up.sql"
    try:
        script = Script(path.read_text())
    except pglast.parser.ParseError:
        return [Finding.own(1, "syntax")]
    in_transaction = runs_in_transaction(folder)
    findings = [
        finding
        for finding in [*squawk(path, in_transaction), *own_findings(script, in_transaction)]
        if not (
            finding.rule == "adding-not-nullable-field"
            and any(it.first <= finding.line <= it.last and proofs.covers(it) for it in script.statements)
        )
    ]
    proofs.learn(script)
    return without_exceptions(findings, script)


def main(root):
    folders = sorted(path for path in root.iterdir() if (path / "up.sql").exists())
    if not any(folder.name == BASELINE for folder in folders):
        raise SystemExit(f"{root}: the baseline {BASELINE} is not there")
    proofs, faults, new = Proofs(), 0, 0
    for folder in folders:
        found = []
        if folder.name > BASELINE:
            new += 1
            found = [(folder / "up.sql", finding) for finding in check(folder, proofs)]
        else:
            proofs.learn(Script((folder / "up.sql").read_text()))
        down = folder / "down.sql"
        if not down.exists() or not down.read_text().strip():
            found.append((down, Finding.own(1, "down")))
        for path, finding in found:
            print(f"{path}:{finding.line}: {finding.rule}: {finding.why}\n    Instead: {finding.instead}")
        faults += len(found)
    if faults:
        raise SystemExit(1)
    print(f"ok: migrations: {new} newer than {BASELINE}, {len(folders)} with a down.sql")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "migrations"))
