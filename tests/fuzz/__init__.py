"""Fuzzing: octets that a coverage-guided fuzzer makes up, through all that a stranger's octets reach.

    harnesses/NAME.py   what is checked of any octets: `check` returns a word for what they were, or raises
    seeds/NAME/         where the fuzzer begins: WORD.what-it-is, written by `python -m tests.fuzz.seeds`
    vectors/NAME/       what once failed; replayed with the seeds by every `make test`
    target.py           one harness under atheris, in a process of its own
    __main__.py         `make fuzz`: the harnesses one after the other, and a table of what they found

A harness never only waits for a crash: what was parsed is built again and compared, what came whole is compared with
the same in pieces, and our parser with a second opinion: a slow one written in the harness, or OpenSSL's own.
"""
