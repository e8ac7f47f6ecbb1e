"""Counts the runs in a history's files as they lie, with DuckDB and again with pyarrow: one line of JSON a stream.

    history_rows.py FOLDER
    history_rows.py ENDPOINT BUCKET PREFIX KEY SECRET    (the objects are fetched with boto3 first)
"""

import collections
import json
import pathlib
import sys
import tempfile

import duckdb
import pyarrow.dataset


def fetch(folder, endpoint, bucket, prefix, key, secret):
    import boto3

    store = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret,
                         region_name="us-east-1")
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
        for entry in page.get("Contents", []):
            path = folder / entry["Key"].removeprefix(prefix + "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(bucket, entry["Key"], str(path))


def by_duckdb(folder):
    query = """SELECT agent_id, epoch, team, count(*), count(DISTINCT seq), min(seq), max(seq)
               FROM read_parquet(?, hive_partitioning = true) GROUP BY ALL ORDER BY ALL"""
    return duckdb.execute(query, [str(folder / "runs" / "**" / "*.parquet")]).fetchall()


def by_pyarrow(folder):
    files = [str(path) for path in sorted((folder / "runs").rglob("*.parquet"))]
    table = pyarrow.dataset.dataset(files).to_table(columns=["agent_id", "epoch", "seq"]).to_pydict()
    seqs = collections.defaultdict(list)
    for agent, epoch, seq in zip(table["agent_id"], table["epoch"], table["seq"]):
        seqs[agent, epoch].append(seq)
    return sorted((agent, epoch, len(all), len(set(all)), min(all), max(all)) for (agent, epoch), all in seqs.items())


def main(arguments):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments[0])
        if len(arguments) > 1:
            folder = pathlib.Path(temporary)
            fetch(folder, *arguments)
        rows = by_duckdb(folder)
        assert [(a, e, *counts) for a, e, _, *counts in rows] == by_pyarrow(folder), "DuckDB and pyarrow differ"
        for agent, epoch, team, count, distinct, first, last in rows:
            print(json.dumps({"agent": agent, "epoch": epoch, "team": team, "count": count, "distinct": distinct,
                              "first": first, "last": last}))


main(sys.argv[1:])
