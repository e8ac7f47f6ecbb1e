"""Counts a history anew with DuckDB, from its files alone: what `muster telemetry summary` says must be this.

    history_check.py summary ROOT --from US --to US [--by team|user|project|tool|agent|model|day] [--compare]
                     [--team T] [--project P] [--tool T] [--agent A] [--user U] [--status S]
    history_check.py page ROOT --from US --to US --page FILE

`summary` prints the JSON of `Summary` (history/src/summary.rs), but for its notices; `page` holds every counter of a page of
metrics in Prometheus' text format, read by Prometheus' own parser for Python, to the sum of the rows, and prints how many series it compared.

Nothing here knows the collector's code: files are listed and sorted out by their names, rows are read by DuckDB.
"""

import argparse
import datetime
import json
import sys

import duckdb
from prometheus_client.parser import text_string_to_metric_families

NAME = r"^(.*)/([0-9a-f]{8})-([0-9a-f]{16})-([0-9a-f]{16})\.parquet$"
GROUPS_SHOWN_MAX = 100
POINTS_MAX = 800
# What each data set is parted by; absent: it knows no such thing.
PARTS = {
    "runs": dict(team="team", user='"user"', project="project", tool="tool", agent="worker", model="model"),
    "events": dict(team="team", user='"user"', project="project", tool="tool", agent="worker"),
    "sessions": dict(team="team", user='"user"', project="project", tool="tool"),
    "usage": dict(team="team", user='"user"', project="project", tool="tool", agent="worker", model="model"),
}
for columns in PARTS.values():
    columns["day"] = "strftime(time AT TIME ZONE 'UTC', '%Y-%m-%d')"


class History:
    def __init__(self, root):
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.sets = {name for name in PARTS if self._open(root, name)}

    def _open(self, root, name):
        """A view of the visible files' rows."""
        files = self.db.execute(
            """WITH named AS (
                   SELECT file, regexp_extract(file, $name, ['folder', 'journal', 'after', 'to']) AS name
                   FROM glob($files)
               )
               SELECT a.file FROM named a
               WHERE a.name.journal <> '' AND NOT EXISTS (
                   FROM named b
                   WHERE b.file <> a.file AND b.name.folder = a.name.folder AND b.name.journal = a.name.journal
                     AND b.name.after <= a.name.after AND b.name.to >= a.name.to)
               ORDER BY a.file""",
            {"name": NAME, "files": f"{root}/{name}/**/*.parquet"},
        ).fetchall()
        if not files:
            return False
        self.db.execute(f"SET VARIABLE files_of_{name} = $files", {"files": [file for (file,) in files]})
        self.db.execute(
            f"""CREATE VIEW {name} AS FROM read_parquet(getvariable('files_of_{name}'), hive_partitioning = true,
                union_by_name = true, hive_types_autocast = false)"""
        )
        return True

    def rows(self, name, asked, extra="true"):
        """The asked rows of a data set, as a subquery."""
        conditions = [
            f"time >= make_timestamptz({asked.start}) AND time < make_timestamptz({asked.end})",
            f"({extra})",
        ]
        filters = dict(
            team="team", project="project", tool="tool", agent="worker", user='"user"', status="status"
        )
        for option, column in filters.items():
            if (value := getattr(asked, option)) is not None:
                text = value.replace("'", "''")
                conditions.append(f"{column} = '{text}'")
        return f"(SELECT * FROM {name} WHERE {' AND '.join(conditions)})"

    def grouped(self, name, asked, part, figures, extra="true"):
        """{group: {figure: value}}; figures are SQL aggregates by name."""
        if name not in self.sets:
            return {}
        columns = ", ".join(f"{sql} AS {figure}" for figure, sql in figures.items())
        query = f"SELECT {part} AS part, {columns} FROM {self.rows(name, asked, extra)} GROUP BY part"
        result = self.db.execute(query)
        names = [column[0] for column in result.description][1:]
        return {row[0]: dict(zip(names, map(whole, row[1:]))) for row in result.fetchall()}

    def quantiles(self, asked, part, column, extra="true"):
        """{group: Quantiles}: the n - floor(n * (100 - q) / 100)th of n weighted values."""
        if "runs" not in self.sets:
            return {}
        rows = self.rows("runs", asked, f"{extra} AND {column} IS NOT NULL")
        query = f"""
            WITH counted AS (
                SELECT {part} AS part, {column} AS value, sum(weight)::HUGEINT AS weight FROM {rows} GROUP BY ALL
            ), ranked AS (
                SELECT *, sum(weight) OVER (PARTITION BY part ORDER BY value) AS through,
                       sum(weight) OVER (PARTITION BY part) AS known
                FROM counted
            )
            SELECT part, any_value(known), sum(value * weight),
                   {", ".join(f"min(value) FILTER (through >= greatest(1, known - known * {100 - q} // 100))" for q in (50, 95, 99))}
            FROM ranked GROUP BY part"""
        names = ["known", "sum_us", "p50_us", "p95_us", "p99_us"]
        found = {row[0]: dict(zip(names, map(whole, row[1:]))) for row in self.db.execute(query).fetchall()}
        # DuckDB's own word for it, where no row stands for several.
        query = f"""SELECT {part} AS part, quantile_disc({column}, [0.5, 0.95, 0.99]) FROM {rows}
                    GROUP BY part HAVING max(weight) = 1"""
        for key, own in self.db.execute(query).fetchall():
            mine = [found[key][name] for name in names[2:]]
            assert mine == list(own), f"quantiles of {key} are {mine} and DuckDB's are {own}"
        return found


def whole(value):
    return 0 if value is None else int(value)


def weighted(condition, number="1"):
    return f"sum({number}::HUGEINT * weight) FILTER ({condition})"


def figures(history, asked, by=None, parts=None, only=None):
    """{group: Figures}; without `by` the one group None. `parts` and `only` are SQL by data set: its part, its rows."""
    parts = parts or {name: "NULL" if by is None else PARTS[name].get(by) for name in PARTS}
    only = only or dict.fromkeys(PARTS, "true")
    statuses = ["success", "failure", "error", "skipped", "unknown"]
    counted = {status: weighted(f"status = '{status}'") for status in statuses}
    runs = history.grouped("runs", asked, parts["runs"], {"total": weighted("true")} | counted, only["runs"])
    duration = history.quantiles(asked, parts["runs"], "duration_us", only["runs"])
    queued = history.quantiles(asked, parts["runs"], "queued_us", only["runs"])
    others = {}
    if asked.status is None and parts["events"]:
        others |= event_figures(history, asked, parts["events"], only["events"])
    if asked.status is None and asked.agent is None and parts["sessions"]:
        named = "(team, agent_id, tool, project, session)"
        started = f"started_time >= make_timestamptz({asked.start}) AND started_time < make_timestamptz({asked.end})"
        others["sessions"] = history.grouped(
            "sessions", asked, parts["sessions"],
            {"seen": f"count(DISTINCT {named})", "started": f"count(DISTINCT {named}) FILTER ({started})"},
            only["sessions"],
        )
    if asked.status is None and parts["usage"]:
        others["usage"] = usage_figures(history, asked, parts["usage"], only["usage"])
    groups = set(runs) | {group for of_part in others.values() for group in of_part}
    if by is None:
        groups = {None}
    answer = {}
    for group in groups:
        run = dict(runs.get(group) or {"total": 0} | {status: 0 for status in statuses})
        if run["total"]:
            run["success_rate"] = (run["success"] + run["skipped"]) / run["total"]
        for name, found in (("duration", duration), ("queued", queued)):
            if group in found:
                run[name] = found[group]
        answer[group] = {"runs": run}
        for name, of_part in others.items():
            answer[group][name] = of_part.get(group) or dict.fromkeys(EMPTY[name], 0)
    return answer


EMPTY = {
    "findings": ["found", "critical", "high", "medium", "low", "unknown", "fixed", "autofixed", "dismissed"],
    "pushes": ["checked", "allowed", "stopped", "prevented_ci_failures", "commits_checked", "commits_stopped"],
    "time_saved": ["developer_us", "build_us", "other_us", "modelled_us"],
    "sessions": ["seen", "started"],
    "usage": ["reports", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
              "reasoning_tokens", "reported_cost_microusd", "computed_cost_microusd", "cost_unknown",
              "cost_unknown_tokens"],
}  # fmt: skip


def event_figures(history, asked, part, only):
    found = "kind = 'finding' AND outcome = 'found'"
    push, commit, saved = (
        "kind = 'push_checked' AND name = 'pre_push'",
        "kind = 'push_checked' AND name = 'pre_commit'",
        "kind = 'time_saved'",
    )
    stopped = "outcome IN ('stopped', 'prevented')"
    grouped = lambda figures: history.grouped("events", asked, part, figures, only)
    return {
        "findings": grouped(
            {"found": weighted(found, '"count"')}
            | {word: weighted(f"{found} AND severity = '{word}'", '"count"')
               for word in ("critical", "high", "medium", "low", "unknown")}
            | {
                "fixed": weighted("kind = 'finding' AND outcome = 'fixed'", '"count"'),
                "autofixed": weighted("kind = 'findings_fixed'", '"count"'),
                "dismissed": weighted("kind = 'finding' AND outcome = 'dismissed'", '"count"'),
            }
        ),
        "pushes": grouped({
            "checked": weighted(push),
            "allowed": weighted(f"{push} AND outcome = 'allowed'"),
            "stopped": weighted(f"{push} AND {stopped}"),
            "prevented_ci_failures":
                weighted("kind = 'push_checked' AND name <> 'pre_commit' AND outcome = 'prevented'"),
            "commits_checked": weighted(commit),
            "commits_stopped": weighted(f"{commit} AND {stopped}"),
        }),
        "time_saved": grouped({
            "developer_us": weighted(f"{saved} AND name = 'developer'", "duration_us"),
            "build_us": weighted(f"{saved} AND name = 'build'", "duration_us"),
            "other_us": weighted(f"{saved} AND name NOT IN ('developer', 'build')", "duration_us"),
            "modelled_us": weighted(f"{saved} AND outcome = 'modelled'", "duration_us"),
        }),
    }  # fmt: skip


def usage_figures(history, asked, part, only):
    kinds = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"]
    unknown = "reported_cost_microusd IS NULL AND computed_cost_microusd IS NULL"
    tokens = " + ".join(f"{kind}::HUGEINT" for kind in kinds)
    return history.grouped(
        "usage", asked, part,
        {"reports": weighted("true")}
        | {kind: weighted("true", kind) for kind in kinds}
        | {
            "reported_cost_microusd": weighted("reported_cost_microusd IS NOT NULL", "reported_cost_microusd"),
            "computed_cost_microusd": weighted("reported_cost_microusd IS NULL", "computed_cost_microusd"),
            "cost_unknown": weighted(unknown),
            "cost_unknown_tokens": weighted(unknown, f"({tokens})"),
        },
        only,
    )  # fmt: skip


def rfc3339(us):
    time = datetime.datetime.fromtimestamp(us // 1_000_000, datetime.timezone.utc)
    fraction = f".{us % 1_000_000:06}".rstrip("0") if us % 1_000_000 else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def series(history, asked):
    step = 3600 if asked.end - asked.start <= 2 * 86_400_000_000 else 86_400
    step_us = step * 1_000_000
    at = f"epoch_us(time) // {step_us}"
    runs = history.grouped("runs", asked, at, {
        "runs": weighted("true"), "succeeded": weighted("status IN ('success', 'skipped')")})
    found, cost = {}, {}
    if asked.status is None:
        found = history.grouped("events", asked, at, {
            "findings": weighted("kind = 'finding' AND outcome = 'found'", '"count"')})
        cost = history.grouped("usage", asked, at, {
            "cost_microusd": weighted("true", "coalesce(reported_cost_microusd, computed_cost_microusd, 0)")})
    points = []
    for place in range(asked.start // step_us, -(-asked.end // step_us))[-POINTS_MAX:]:
        point = {"start": rfc3339(place * step_us), "runs": 0, "succeeded": 0, "findings": 0, "cost_microusd": 0}
        for of_kind in (runs, found, cost):
            point |= of_kind.get(place, {})
        points.append(point)
    return {"step_seconds": step, "points": points}


def summary(history, asked):
    answer = {"from": rfc3339(asked.start), "to": rfc3339(asked.end), "total": figures(history, asked)[None]}
    if asked.compare:
        length = asked.end - asked.start
        before = argparse.Namespace(**vars(asked) | {"start": asked.start - length, "end": asked.start})
        answer["before"] = {"from": rfc3339(before.start), "total": figures(history, before)[None]}
    if asked.by:
        answer["by"] = asked.by
        of_group = figures(history, asked, asked.by)
        by_runs = lambda group: (-of_group[group]["runs"]["total"], group is None, group or "")
        in_order = lambda group: (group is None, group or "")
        groups = sorted(of_group, key=in_order if asked.by == "day" else by_runs)
        shown, rest = groups[:GROUPS_SHOWN_MAX], groups[GROUPS_SHOWN_MAX:]
        answer["groups"] = [{"name": group, "figures": of_group[group]} for group in shown]
        if rest:
            texts = ", ".join("'" + group.replace("'", "''") + "'" for group in rest if group is not None)
            is_rest = lambda part: f"({part} IN ({texts or 'NULL'}) OR ({None in rest} AND {part} IS NULL))"
            answer["others"] = {"groups": len(rest), "figures": rest_figures(history, asked, is_rest)}
    answer["series"] = series(history, asked)
    return answer


def rest_figures(history, asked, is_rest):
    """Figures of all groups without room, as one. A data set that knows no such part has none."""
    parts = {name: PARTS[name].get(asked.by) for name in PARTS}
    return figures(history, asked, parts={name: part and "NULL" for name, part in parts.items()},
                   only={name: is_rest(part) if part else "false" for name, part in parts.items()})[None]


# Counters, the rows that they count, their own labels as SQL, what is summed, and how many of it are one.
PUSHED = "kind = 'push_checked'"
TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")
COUNTERS = [
    ("muster_runs", "runs", "true", dict(agent="worker", status="status"), "1", 1),
    ("muster_findings", "events", "kind = 'finding'", dict(severity="severity", state="outcome"), '"count"', 1),
    ("muster_findings_autofixed", "events", "kind = 'findings_fixed'", {}, '"count"', 1),
    ("muster_file_changes", "events", "kind = 'file_activity'", dict(change="outcome"), '"count"', 1),
    ("muster_tool_calls", "events", "kind = 'tool_call'", dict(name="name", status="outcome"), "1", 1),
    ("muster_lines_recorded", "events", "kind = 'lines_recorded'", {}, '"count"', 1),
    ("muster_bus_events", "events", "kind = 'bus_events'", {}, '"count"', 1),
    ("muster_pushes_checked", "events", PUSHED,
     dict(gate="name", result="CASE outcome WHEN 'allowed' THEN 'allowed' ELSE 'blocked' END"), "1", 1),
    ("muster_bad_pushes_prevented", "events", f"{PUSHED} AND outcome = 'prevented'", dict(gate="name"), "1", 1),
    ("muster_time_saved_seconds", "events", "kind = 'time_saved'",
     dict(kind="name", modelled="CASE outcome WHEN 'modelled' THEN 'true' ELSE 'false' END"), "duration_us", 1_000_000),
    *(("muster_usage_tokens", "usage", "true", dict(model="model", kind=f"'{kind}'"), f"{kind}_tokens", 1) for kind in TOKENS),
    ("muster_usage_cost_usd", "usage", "reported_cost_microusd IS NOT NULL", dict(model="model", source="'reported'"),
     "reported_cost_microusd", 1_000_000),
    ("muster_usage_cost_usd", "usage", "reported_cost_microusd IS NULL AND computed_cost_microusd IS NOT NULL",
     dict(model="model", source="'computed'"), "computed_cost_microusd", 1_000_000),
    ("muster_usage_cost_unknown", "usage", "reported_cost_microusd IS NULL AND computed_cost_microusd IS NULL",
     dict(model="model"), "1", 1),
]  # fmt: skip


def page(history, asked):
    """The counters of a page, and the sums that they must be. 0 is as good as no series."""
    names = {name for name, *_ in COUNTERS}
    said = {}
    with open(asked.page, encoding="utf-8") as text:
        for family in text_string_to_metric_families(text.read()):
            if family.name in names:
                for sample in family.samples:
                    labels = {name: value for name, value in sample.labels.items() if value}
                    said[family.name, frozenset(labels.items())] = sample.value
    counted = {}
    for name, data_set, condition, own, number, one in COUNTERS:
        if data_set not in history.sets:
            continue
        labels = dict(team="team", user='"user"', host="host", project="project", tool="tool") | own
        columns = ", ".join(f"coalesce({sql}, '')" for sql in labels.values())
        query = f"""SELECT [{columns}] AS labels, sum({number}::HUGEINT * weight)
                    FROM {history.rows(data_set, asked, condition)} GROUP BY labels"""
        for values, total in history.db.execute(query).fetchall():
            key = name, frozenset((label, value) for label, value in zip(labels, values) if value)
            counted[key] = whole(total) / one
    differing = [key for key in said.keys() | counted.keys() if said.get(key, 0.0) != counted.get(key, 0.0)]
    for name, labels in sorted(differing, key=repr)[:20]:
        key = name, labels
        print(f"{name} {dict(labels)}: {said.get(key)} on the page, {counted.get(key)} in the rows", file=sys.stderr)
    assert not differing, f"{len(differing)} of {len(counted)} series differ"
    return {"series": len(counted), "families": len({name for name, _ in counted})}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["summary", "page"])
    parser.add_argument("root")
    parser.add_argument("--from", dest="start", type=int, required=True, metavar="US")
    parser.add_argument("--to", dest="end", type=int, required=True, metavar="US")
    parser.add_argument("--by", choices=["team", "user", "project", "tool", "agent", "model", "day"])
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--page", metavar="FILE")
    for option in ("team", "project", "tool", "agent", "user", "status"):
        parser.add_argument(f"--{option}")
    asked = parser.parse_args()
    ask = summary if asked.what == "summary" else page
    json.dump(ask(History(asked.root), asked), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
