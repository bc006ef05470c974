#!/usr/bin/env bash
# The client libraries that people use (OpenAI's, LangChain's, LiteLLM, Ollama's, the AI SDK; Python and JavaScript), and
# Open WebUI's calls, against `qvl serve` with the demo model. Installs pinned versions of them below build/clients, Node.js
# among them. Prints "ok …" and "not ok …"; ends with 1 where one is not.
# usage: reference/clients/run.sh [BUILD] [PATTERN]      PATTERN: only programs whose name matches, as in 'openai.py'
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build}")
pattern=${2:-.}
clients=build/clients
unset "${!QVL_@}" "${!OPENAI_@}" "${!OLLAMA_@}" http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
[ -d demo/model ] || { echo "SKIP: demo/model is not there"; exit 0; }
tools/install-deps.sh python3-venv
mkdir -p $clients

environment() { # folder, requirements: a Python environment, made when they changed
    if ! cmp -s "$2" "$1/complete"; then
        rm -rf "$1"
        python3 -m venv "$1"
        timeout 1200 "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$2" >"$1.log" 2>&1 ||
            { tail -n 20 "$1.log" >&2; return 1; }
        cp "$2" "$1/complete"
    fi
}
environment $clients/python reference/clients/requirements.txt
environment $clients/litellm reference/clients/requirements-litellm.txt
PATH=$PWD/$clients/python/bin:$PATH # node and npm
if ! cmp -s reference/clients/package-lock.json $clients/complete-lock.json; then
    cp reference/clients/package.json reference/clients/package-lock.json $clients/
    (cd $clients && timeout 1200 npm ci --no-audit --no-fund --silent)
    cp reference/clients/package-lock.json $clients/complete-lock.json
fi
cp reference/clients/*.mjs $clients/ # they find libraries from where they are

work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap stop EXIT

serve() { # name, options…: its address in the file of that name
    local name=$1
    shift
    "$build/qvl" serve -m demo/model --port 0 --log-file "$work/$name.log" "$@" \
        </dev/null >"$work/$name.out" 2>&1 &
    pids+=($!)
    for _ in $(seq 1200); do
        if grep -soE 'http://[0-9.]+:[0-9]+' "$work/$name.out" >"$work/$name" &&
            curl -sf -o /dev/null "$(head -n 1 "$work/$name")/ready"; then
            return
        fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/$name.out" >&2
    return 1
}
head -c 24 /dev/urandom | base64 | tr -d '+/=\n' >"$work/key"
serve open
serve usual --api-key-file "$work/key"
serve strict --api-key-file "$work/key" --strict --strict-model --parallel 1 --queue 1 --max-body 1
QVL_KEY=$(cat "$work/key")
QVL_OPEN_URL=$(head -n 1 "$work/open")
QVL_URL=$(head -n 1 "$work/usual")
QVL_STRICT_URL=$(head -n 1 "$work/strict")
export QVL_KEY QVL_OPEN_URL QVL_URL QVL_STRICT_URL QVL_ROOT=$PWD QVL_CLIENTS=$PWD/$clients PYTHONPATH=reference/clients:reference PYTHONDONTWRITEBYTECODE=1

n_bad=0
run() { # name of the program, command…
    local name=$1
    shift
    echo "$name" | grep -qE "$pattern" || return 0
    if timeout 600 "$@" >"$work/out" 2>&1; then local rc=0; else local rc=$?; fi
    grep -E '^(ok|not ok) ' "$work/out" || true
    if [ $rc -ne 0 ] || ! grep -q '^ok ' "$work/out"; then
        n_bad=$((n_bad + 1))
        grep -q '^not ok ' "$work/out" || { echo "not ok $name: exit code $rc"; tail -n 20 "$work/out" | sed 's/^/    /'; }
    fi
}
for name in readme openai langchain ollama open_webui; do
    run $name.py $clients/python/bin/python reference/clients/test_$name.py
done
run litellm.py $clients/litellm/bin/python reference/clients/test_litellm.py
for name in openai langchain ollama ai; do
    run $name.mjs node $clients/test_$name.mjs
done

if grep -aFq -e "$QVL_KEY" "$work"/*.log "$work"/*.out; then
    echo "not ok the key stands in a log"
    n_bad=$((n_bad + 1))
fi
if grep -aE 'Sanitizer|runtime error' "$work"/*.out; then
    echo "not ok a sanitizer has something to report"
    n_bad=$((n_bad + 1))
fi
for i in "${!pids[@]}"; do
    kill "${pids[i]}"
    wait "${pids[i]}" && echo "ok server $i ends when told to" || { echo "not ok server $i: exit code $?"; n_bad=$((n_bad + 1)); }
done
pids=()
[ $n_bad -eq 0 ]
