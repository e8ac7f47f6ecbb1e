"""Runs what docs/history.md tells people to run, word for word, in a folder that has a `history`.

    history_reading.py PAGE FOLDER    prints one line a snippet: its language and what it answered, as JSON
"""

import contextlib
import io
import json
import os
import re
import sys

import duckdb


def main():
    page, folder = sys.argv[1:]
    with open(page, encoding="utf-8") as file:
        snippets = re.findall(r"^```(sql|python)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    os.chdir(folder)
    database = duckdb.connect()
    for language, snippet in snippets:
        if language == "sql":
            # The page asks for the last days; the rows of a test are of a day that has passed.
            statement = snippet.replace("current_date - 7", "DATE '2020-01-01'")
            answer = [list(map(str, row)) for row in database.execute(statement).fetchall()]
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(snippet, {})
            answer = printed.getvalue()
        print(json.dumps([language, answer]))


if __name__ == "__main__":
    main()
