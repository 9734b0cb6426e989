"""The load engine: processes that make load on raw sockets, and what is known of a run with them.

A scenario (`bench/scenarios/`) says what is sent; everything else is here. `generator.py` is the
process that sends it, on `loop.py`; `generators.py` starts several and collects what they tell each
second; `sampling.py` looks at the server from outside meanwhile; `result.py` is what comes of it.
"""
