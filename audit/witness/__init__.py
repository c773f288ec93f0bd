"""A witness: a small program that a customer runs elsewhere, so that a log can't change its past.

For each log that it is told of it keeps the newest checkpoint, and cosigns another one only after
a proof that the other continues it (C2SP tlog-witness). Whoever then sees two histories of one log
under its cosignature can show that the log, or the witness, lied.

Modules: keys (the key file), state (what it remembers, durably), witnessing (the verdict on a
submission), server (HTTP), __main__ (the command line). It needs the standard library, POSIX file
locks and `cryptography`, and of this product the proofs, the notes and the checkpoints.

A witness is its keys and its state together: if the state is lost, make a new key and tell those
who trust the old one. Non-goals: TLS (put a reverse proxy before it), who may submit (a log's
signature decides), and the entries themselves, which it never sees.
"""
