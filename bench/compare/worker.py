"""The side of programs.Worker that does the tasks: one JSON object a line in, one out."""
import json
import os
import resource
import sys
import time


def timed(work):
    """What work() returns, and the milliseconds it took."""
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1e3


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(open_bench):
    """open_bench() returns what to say of itself and the function that does a task. Whatever libraries print goes to
    stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer):
        print(json.dumps(answer), file=out, flush=True)

    version, do = open_bench()
    say({"version": version})
    for line in sys.stdin:
        start = cpu_s()
        try:
            answer = do(json.loads(line))
        except Exception as e:  # whatever it is, the one who asked must hear of it
            answer = {"error": f"{type(e).__name__}: {e}"}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say({**answer, "peak_bytes": peak, "cpu_s": cpu_s() - start})
