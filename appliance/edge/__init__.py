"""Where the program meets the world: AWS, DNS, the kernel, the disk. Everything here speaks the core's types.

No edge imports the engine, the app or another edge; only `app.py` and `worker.py` construct one.
"""
