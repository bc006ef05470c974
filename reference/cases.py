"""Cases of a test program: each prints "ok name" or "not ok name"."""
import sys
import traceback

cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def main(prefix):
    """Runs all cases, or those whose name holds the first argument."""
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    n_bad = 0
    for name, function in cases:
        if pattern not in name:
            continue
        try:
            function()
            print(f"ok {prefix}: {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            n_bad += 1
            where = traceback.extract_tb(error.__traceback__)
            line = next((frame for frame in reversed(where) if "/reference/" in frame.filename), where[-1])
            text = " ".join(str(error).split())[:600]
            print(f"not ok {prefix}: {name}: line {line.lineno}, `{line.line}`: {type(error).__name__}: {text}", flush=True)
    sys.exit(1 if n_bad else 0)


def equal(found, expected):
    assert found == expected, f"{found!r}, expected {expected!r}"


def raises(kind, function, *arguments, **fields):
    """The exception of this very class that the call ends with."""
    try:
        function(*arguments, **fields)
    except Exception as error:  # pylint: disable=broad-except
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"no {kind.__name__}")
